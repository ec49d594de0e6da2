"""Concepts and features over training: when is each learned, when can it first be elicited?"""

from interp.core.moved import forwarding
from interp.dynamics.checkpoints import Checkpoint, checkpoints_of
from interp.dynamics.feature_births import feature_births
from interp.dynamics.lags import Lag, elicitation_lag
from interp.dynamics.language.concepts import language_concepts, readers
from interp.dynamics.language.features import track_features
from interp.dynamics.language.tracking import track_language
from interp.dynamics.learning_times import (
    LearningRule,
    LearningTime,
    TypicalTime,
    learning_time,
    signal_correlation,
    typical_time,
)
from interp.dynamics.similarity import linear_cka, relative_representation
from interp.dynamics.track import Axis, track
from interp.dynamics.trajectories import Trajectories, load_trajectories
from interp.dynamics.transport import fit_transport
from interp.dynamics.turns import Turn, TurnRule, find_turn, heading, sharpest_step

__all__ = [
    "Axis",
    "Checkpoint",
    "Lag",
    "LearningRule",
    "LearningTime",
    "Trajectories",
    "Turn",
    "TurnRule",
    "TypicalTime",
    "checkpoints_of",
    "elicitation_lag",
    "feature_births",
    "find_turn",
    "fit_transport",
    "heading",
    "language_concepts",
    "learning_time",
    "linear_cka",
    "load_trajectories",
    "readers",
    "relative_representation",
    "sharpest_step",
    "signal_correlation",
    "track",
    "track_features",
    "track_language",
    "typical_time",
]

__getattr__ = forwarding(
    __name__,
    {
        **dict.fromkeys(
            (
                "ConceptRun",
                "ConceptTrainingSettings",
                "concept_axes",
                "elicited",
                "load_concept_run",
                "train_concepts",
            ),
            "interp.testbeds.concepts",
        ),
        **dict.fromkeys(
            ("TinyLanguageSettings", "train_tiny_language"), "interp.testbeds.language"
        ),
    },
)
