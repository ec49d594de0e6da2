"""`path_effects`: one call for every network, method and replacement value."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from torch import Tensor

from interp.causal.graph.graph import CausalGraph, Method
from interp.causal.methods.acdc import acdc
from interp.causal.methods.assembly import assembled
from interp.causal.methods.eap import eap
from interp.causal.methods.eap_ig import eap_ig_activations, eap_ig_inputs
from interp.causal.methods.eap_qk import eap_qk
from interp.causal.methods.exact import exact
from interp.causal.methods.graddrop import eap_graddrop
from interp.causal.methods.interventional import interventional_graph
from interp.causal.methods.regression import regression_graph
from interp.causal.wiring.channels import ChannelWiring
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.metrics import check_metric
from interp.causal.wiring.replacement import Value
from interp.causal.wiring.residual import ResidualWiring
from interp.causal.wiring.unet import UNetWiring
from interp.causal.wiring.wiring import Edge, Metric, Wiring
from interp.core import InputError, Progress, silent
from interp.core.names import require_known
from interp.models import Model, ModuleModel, UNetModel

DECIDING = ("acdc", "interventional", "regression")
"""Methods that choose the graph's edges, and return the graph themselves."""

_METHODS: dict[Method, Callable[..., Any]] = {
    "exact": exact,
    "eap": eap,
    "eap-ig-inputs": eap_ig_inputs,
    "eap-ig-activations": eap_ig_activations,
    "eap-qk": eap_qk,
    "eap-graddrop": eap_graddrop,
    "acdc": acdc,
    "interventional": interventional_graph,
    "regression": regression_graph,
}


def path_effects(
    model: Model | Wiring,
    inputs: Any,
    counterfactuals: Any | None = None,
    *,
    metric: Metric,
    method: Method = "eap-ig-inputs",
    value: Value = "resample",
    directions: Mapping[str, Tensor] | None = None,
    steps: int = 5,
    threshold: float = 0.01,
    edges: Sequence[Edge] | None = None,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> CausalGraph:
    """The effect of every edge of a network on a metric, `m(edge replaced) − m(clean)`: measured,
    or estimated by `method`.

    Args:
        inputs: what the network takes; `counterfactuals` the same with what matters changed, token
            by token.
        metric: a number for every example from the network's output; see
            `interp.causal.wiring.metrics`.
        method: `exact` (every edge measured, or those in `edges`), `eap`, `eap-ig-inputs`,
            `eap-ig-activations`, `eap-qk`, `eap-graddrop`, `acdc` (removes what matters less than
            `threshold`), `interventional`, `regression` (classifiers).
        value: what takes a contribution's place: `resample` (the counterfactual's), `mean`, `zero`,
            `project out` and `add` (with `directions`, by source name). Different values give
            different true graphs.
        steps: of integrated gradients.

    Raises:
        InputError: a name does not exist, counterfactuals do not fit, or the metric is the same
            whatever is replaced.

    Example:
        >>> task = interp.corpus.task("indirect-object", n=32)
        >>> graph = interp.path_effects(model, task.prompts, task.counterfactuals, metric=metric)
        >>> [str(graph.edge(number)) for number in graph.strongest(5)]
    """
    require_known("method", method, get_args(Method))
    require_known("value", value, get_args(Value))
    start = time.perf_counter()
    wiring = wiring_of(model)
    examples = Examples(
        wiring, inputs, counterfactuals, value=value, directions=directions, batch_size=batch_size
    )
    chosen = wiring.edges if edges is None else wiring.numbers(edges)
    if edges is not None and method != "exact":
        raise InputError(
            f"edges can be chosen for method 'exact' only, not {method!r}; the others give all "
            "edges at once"
        )
    every: dict[str, dict[str, Any]] = {
        "exact": {"edges": chosen},
        "eap-ig-inputs": {"steps": steps},
        "eap-ig-activations": {"steps": steps},
        "acdc": {"threshold": threshold},
    }
    search, options = _METHODS[method], every.get(method, {})
    if method in DECIDING:
        decided: CausalGraph = search(wiring, examples, metric, progress=progress, **options)
        return decided
    table = search(examples, metric, progress=progress, **options)
    graph = assembled(
        examples, metric, method, table, {"value": value, "steps": steps}, start, edges=chosen
    )
    _refuse_constant(graph)
    return graph


def wiring_of(model: Model | Wiring) -> Wiring:
    """A network's parts and edges: a language model's heads and MLPs, a classifier's channels, a
    UNet's levels and skip connections.

    Raises:
        InputError: the network is none of these, or its parts cannot be told apart.
    """
    if isinstance(model, Wiring):
        return model
    if isinstance(model, ModuleModel):
        return ChannelWiring(model)
    if isinstance(model, UNetModel):
        return UNetWiring(model)
    return ResidualWiring(model)


def _refuse_constant(graph: CausalGraph) -> None:
    # If the largest and smallest effects of every example do not move the metric, no edge does.
    extremes = [
        graph.clean + edge(graph.per_example, axis=1, initial=0) for edge in (np.max, np.min)
    ]
    check_metric(np.stack([graph.clean, graph.replaced, *extremes]), graph.metric)
