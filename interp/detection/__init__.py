"""Whether features fire on their concepts and not elsewhere: detection, AUROC, sparse probes."""

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
