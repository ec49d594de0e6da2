"""Does a feature fire on its concept and not elsewhere?"""

from interp.detection.auroc import auroc, auroc_many, average_precision
from interp.detection.detection import (
    Detection,
    LabelledActivations,
    detect,
    detection_of,
    sentence_cosines,
    sentence_scores,
    summarise,
)
from interp.detection.probing import Probe, sparse_probing

__all__ = [
    "Detection",
    "LabelledActivations",
    "Probe",
    "auroc",
    "auroc_many",
    "average_precision",
    "detect",
    "detection_of",
    "sentence_cosines",
    "sentence_scores",
    "sparse_probing",
    "summarise",
]
