"""Which decomposition's features detect and steer: methods by layers by sizes, resumable."""

from interp.studies.comparison.protocol import Comparison, LiftProtocol
from interp.studies.comparison.result import ComparisonResult
from interp.studies.comparison.run import compare

__all__ = ["Comparison", "ComparisonResult", "LiftProtocol", "compare"]
