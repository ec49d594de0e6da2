"""Types shared by all rooms: sites, activations with contexts, scores, provenance, errors."""

from interp.core.activations import Activations, Contexts, Window
from interp.core.errors import ConvergenceWarning, InputError, InterpError, UnavailableError
from interp.core.progress import Progress, silent
from interp.core.provenance import Provenance, text_hash
from interp.core.score import Score, bootstrap_cases, bootstrap_mean, bootstrap_statistic
from interp.core.site import Sites

__all__ = [
    "Activations",
    "Contexts",
    "ConvergenceWarning",
    "InputError",
    "InterpError",
    "Progress",
    "Provenance",
    "Score",
    "Sites",
    "UnavailableError",
    "Window",
    "bootstrap_cases",
    "bootstrap_mean",
    "bootstrap_statistic",
    "silent",
    "text_hash",
]
