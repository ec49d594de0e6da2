"""When was it learned, and when could it first have been elicited?"""

from interp.studies.learning.files import load_image_runs
from interp.studies.learning.groups import by_signal, main_runs
from interp.studies.learning.images import study_signal
from interp.studies.learning.language import prompt_onset, study_language
from interp.studies.learning.protocol import LearningProtocol
from interp.studies.learning.result import LanguageRun, LearningResult, Plane
from interp.studies.learning.run import study_language_model, study_learning, study_shapes
from interp.studies.learning.samples import with_samples

__all__ = [
    "LanguageRun",
    "LearningProtocol",
    "LearningResult",
    "Plane",
    "by_signal",
    "load_image_runs",
    "main_runs",
    "prompt_onset",
    "study_language",
    "study_language_model",
    "study_learning",
    "study_shapes",
    "study_signal",
    "with_samples",
]
