"""Which edges and paths carry an effect: direct path patching, its estimates, and what checks them."""

from interp.causal.effects import path_effects, wiring_of
from interp.causal.examples import Examples
from interp.causal.graph import CausalGraph, Method
from interp.causal.replacement import Changes, Value
from interp.causal.residual import ResidualWiring
from interp.causal.wiring import Edge, Metric, Moment, Node, Port, Wiring

__all__ = [
    "CausalGraph",
    "Changes",
    "Edge",
    "Examples",
    "Method",
    "Metric",
    "Moment",
    "Node",
    "Port",
    "ResidualWiring",
    "Value",
    "Wiring",
    "path_effects",
    "wiring_of",
]
