"""Which edges and paths carry an effect: direct path patching, its estimates and their checks."""

from interp.causal.checks.faithfulness import Faithfulness, faithfulness
from interp.causal.checks.prediction_check import PredictionCheck, prediction_check
from interp.causal.checks.stability import Stability, stability, stability_of
from interp.causal.checks.sufficiency import Sufficiency, sufficiency
from interp.causal.features.das import Alignment, align
from interp.causal.features.feature_effect import FeatureEffect, SetCoefficient, feature_effect
from interp.causal.features.feature_paths import FeaturePaths, feature_paths
from interp.causal.features.high_level import HighLevel
from interp.causal.features.interchange import (
    Interchanges,
    Place,
    interchange_accuracy,
    random_subspace,
)
from interp.causal.graph.graph import CausalGraph, Method
from interp.causal.methods.acdc import acdc
from interp.causal.methods.effects import path_effects, wiring_of
from interp.causal.methods.interventional import interventional_graph
from interp.causal.methods.nodes import node_effects
from interp.causal.methods.whole_path import whole_path_effect
from interp.causal.wiring.channels import ChannelWiring
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.metrics import (
    ClassProbability,
    KlFromClean,
    LogitDifference,
    ProbabilityDifference,
    TaskWarning,
    accuracy,
    task_metric,
)
from interp.causal.wiring.replacement import Changes, Value
from interp.causal.wiring.residual import ResidualWiring
from interp.causal.wiring.wiring import Edge, Metric, Moment, Node, Port, Wiring
from interp.core.moved import forwarding

__all__ = [
    "Alignment",
    "CausalGraph",
    "Changes",
    "ChannelWiring",
    "ClassProbability",
    "Edge",
    "Examples",
    "Faithfulness",
    "FeatureEffect",
    "FeaturePaths",
    "HighLevel",
    "Interchanges",
    "KlFromClean",
    "LogitDifference",
    "Method",
    "Metric",
    "Moment",
    "Node",
    "Place",
    "Port",
    "PredictionCheck",
    "ProbabilityDifference",
    "ResidualWiring",
    "SetCoefficient",
    "Stability",
    "Sufficiency",
    "TaskWarning",
    "Value",
    "Wiring",
    "accuracy",
    "acdc",
    "align",
    "faithfulness",
    "feature_effect",
    "feature_paths",
    "interchange_accuracy",
    "interventional_graph",
    "node_effects",
    "path_effects",
    "prediction_check",
    "random_subspace",
    "stability",
    "stability_of",
    "sufficiency",
    "task_metric",
    "whole_path_effect",
    "wiring_of",
]

__getattr__ = forwarding(
    __name__,
    dict.fromkeys(("PathsProtocol", "PathsResult", "trace_task"), "interp.studies.paths"),
)
