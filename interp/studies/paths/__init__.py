"""Which heads and MLPs carry a task, through which edges, and is that graph right?"""

from interp.studies.paths.protocol import PathsProtocol
from interp.studies.paths.result import PathsResult
from interp.studies.paths.run import trace_task

__all__ = ["PathsProtocol", "PathsResult", "trace_task"]
