"""A generator's directions: is it sound, what goes through its bottleneck, and what do directions
there move?
"""

from interp.studies.directions.protocol import DirectionsProtocol
from interp.studies.directions.result import DirectionsResult
from interp.studies.directions.run import study_directions

__all__ = ["DirectionsProtocol", "DirectionsResult", "study_directions"]
