"""What a dictionary's features mean: contexts, tokens, labels, companions, neighbours, reuse."""

from interp.features.companion import companion, companions
from interp.features.control_vectors import (
    ControlVector,
    load_control_vector,
    load_directions,
    save_control_vector,
    save_directions,
)
from interp.features.describe import describe
from interp.features.feature import Feature, FeatureContext, TokenEffect
from interp.features.neighbours import Neighbour, Neighbourhood, neighbourhood, partners
from interp.features.recovered import LossRecovered, loss_recovered
from interp.features.reuse import (
    Amplification,
    FamilyNeurons,
    amplify_neurons,
    family_neurons,
    neuron_reuse,
)
from interp.features.strip import Strip, show
from interp.features.supervised import concept_means
from interp.features.tree import Branch, ConceptTree, concept_tree, level_labels

__all__ = [
    "Amplification",
    "Branch",
    "ConceptTree",
    "ControlVector",
    "FamilyNeurons",
    "Feature",
    "FeatureContext",
    "LossRecovered",
    "Neighbour",
    "Neighbourhood",
    "Strip",
    "TokenEffect",
    "amplify_neurons",
    "companion",
    "companions",
    "concept_means",
    "concept_tree",
    "describe",
    "family_neurons",
    "level_labels",
    "load_control_vector",
    "load_directions",
    "loss_recovered",
    "neighbourhood",
    "neuron_reuse",
    "partners",
    "save_control_vector",
    "save_directions",
    "show",
]
