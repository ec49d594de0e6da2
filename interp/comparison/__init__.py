"""Methods by layers by sizes: which decomposition's features detect and steer, in one resumable run."""

from interp.comparison.compared import Compared
from interp.comparison.run import compare
from interp.comparison.settings import Comparison, LiftProtocol

__all__ = ["Compared", "Comparison", "LiftProtocol", "compare"]
