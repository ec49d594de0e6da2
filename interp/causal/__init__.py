"""Which edges and paths carry an effect: direct path patching, its estimates, and what checks them."""

from interp.causal.acdc import acdc
from interp.causal.channels import ChannelWiring
from interp.causal.checked import Checked, checked
from interp.causal.das import Alignment, align
from interp.causal.effects import path_effects, wiring_of
from interp.causal.examples import Examples
from interp.causal.faithfulness import Faithfulness, faithfulness
from interp.causal.feature_effect import FeatureEffect, SetCoefficient, feature_effect
from interp.causal.feature_paths import FeaturePaths, feature_paths
from interp.causal.graph import CausalGraph, Method
from interp.causal.high_level import HighLevel
from interp.causal.interchange import Interchanges, Place, interchange_accuracy, random_subspace
from interp.causal.interventional import interventional_graph
from interp.causal.metrics import ClassProbability, KlFromClean, LogitDifference, ProbabilityDifference, TaskWarning, accuracy, task_metric
from interp.causal.nodes import node_effects
from interp.causal.replacement import Changes, Value
from interp.causal.residual import ResidualWiring
from interp.causal.result import PathsResult
from interp.causal.run import PathsProtocol, trace_task
from interp.causal.stability import Stability, stability, stability_of
from interp.causal.sufficiency import Sufficiency, sufficiency
from interp.causal.whole_path import whole_path_effect
from interp.causal.wiring import Edge, Metric, Moment, Node, Port, Wiring

__all__ = [
    "Alignment",
    "CausalGraph",
    "Changes",
    "ChannelWiring",
    "Checked",
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
    "PathsProtocol",
    "PathsResult",
    "Place",
    "Port",
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
    "checked",
    "faithfulness",
    "feature_effect",
    "feature_paths",
    "interchange_accuracy",
    "interventional_graph",
    "node_effects",
    "path_effects",
    "random_subspace",
    "stability",
    "stability_of",
    "sufficiency",
    "task_metric",
    "trace_task",
    "whole_path_effect",
    "wiring_of",
]
