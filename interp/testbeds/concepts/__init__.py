"""The concept network: trained on three of four classes, prompted for the fourth."""

from interp.testbeds.concepts.elicitation import elicited
from interp.testbeds.concepts.run import ConceptRun, ConceptTrainingSettings, load_concept_run
from interp.testbeds.concepts.training import concept_axes, train_concepts

__all__ = [
    "ConceptRun",
    "ConceptTrainingSettings",
    "concept_axes",
    "elicited",
    "load_concept_run",
    "train_concepts",
]
