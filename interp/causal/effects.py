"""path_effects(): one call for every network, method and replacement value."""

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.causal.exact import exact
from interp.causal.examples import Examples
from interp.causal.graph import CausalGraph, Method
from interp.causal.replacement import Value
from interp.causal.search import clean_and_replaced
from interp.causal.wiring import Edge, Metric, Wiring
from interp.core import InputError, Progress, Provenance, silent, text_hash
from interp.core.names import require_known
from interp.models import Model, ModuleModel, UNetModel

CONSTANT = 1e-9

DECIDING = ("acdc", "interventional", "regression")
"""Methods that decide which edges belong to the graph, and say what they found of each themselves."""

_METHODS: dict[Method, tuple[str, str]] = {
    "exact": ("exact", "exact"),
    "eap": ("eap", "eap"),
    "eap-ig-inputs": ("eap_ig", "eap_ig_inputs"),
    "eap-ig-activations": ("eap_ig", "eap_ig_activations"),
    "eap-qk": ("attention_fix", "eap_qk"),
    "eap-graddrop": ("graddrop", "eap_graddrop"),
    "acdc": ("acdc", "acdc"),
    "interventional": ("interventional", "interventional_graph"),
    "regression": ("regression", "regression_graph"),
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
    """The effect of every edge of a network on a metric, `m(edge replaced) − m(clean)`: measured, or estimated by `method`.

    Args:
        inputs: what the network takes; `counterfactuals` the same with what matters changed (same number of tokens, position by position).
        metric: a number for every example from the network's output; see `interp.causal.metrics`.
        method: `exact` (every edge measured, or those in `edges`), `eap`, `eap-ig-inputs`, `eap-ig-activations`, `eap-qk`, `eap-graddrop`,
            `acdc` (removes what matters less than `threshold`), `interventional`, `regression` (classifiers).
        value: what takes a contribution's place: `resample` (the counterfactual's), `mean`, `zero`, `project out` and `add` (with
            `directions`, by source name). Different values give different true graphs.
        steps: of integrated gradients.

    Raises:
        InputError: a name does not exist, counterfactuals do not fit, or the metric is the same whatever is replaced.

    Example:
        >>> task = interp.corpus.task("indirect-object", n=32)
        >>> graph = interp.path_effects(model, task.prompts, task.counterfactuals, metric=metric)
        >>> [str(graph.edge(number)) for number in graph.strongest(5)]
    """
    require_known("method", method, get_args(Method))
    require_known("value", value, get_args(Value))
    start = time.perf_counter()
    wiring = wiring_of(model)
    examples = Examples(wiring, inputs, counterfactuals, value=value, directions=directions, batch_size=batch_size)
    chosen = wiring.edges if edges is None else wiring.numbers(edges)
    if edges is not None and method != "exact":
        raise InputError(f"edges can be chosen for method 'exact' only, not {method!r}; the others give all edges at once")
    search = _search(method, steps, threshold)
    if method in DECIDING:
        graph: CausalGraph = search(examples, metric, progress)
        return graph
    table = exact(examples, metric, None, chosen, progress=progress) if method == "exact" else search(examples, metric, progress)
    clean, replaced = clean_and_replaced(examples, metric)
    _refuse_constant(clean, replaced, table)
    return CausalGraph(
        wiring.sources,
        wiring.ports,
        chosen,
        table,
        clean,
        replaced,
        method,
        value,
        getattr(metric, "name", "metric"),
        provenance(wiring, examples, method, {"value": value, "steps": steps}, time.perf_counter() - start),
    )


def wiring_of(model: Model | Wiring) -> Wiring:
    """A network's parts and edges: a language model's heads and MLPs, a classifier's channels, a UNet's levels and skip connections.

    Raises:
        InputError: the network is none of these, or its parts cannot be told apart.
    """
    if isinstance(model, Wiring):
        return model
    if isinstance(model, ModuleModel):
        from interp.causal.channels import ChannelWiring

        return ChannelWiring(model)
    if isinstance(model, UNetModel):
        from interp.causal.unet_paths import UNetWiring

        return UNetWiring(model)
    from interp.causal.residual import ResidualWiring

    return ResidualWiring(model)


def provenance(
    wiring: Wiring, examples: Examples, method: str, parameters: Mapping[str, Any], seconds: float, seed: int | None = None
) -> Provenance:
    """Where a graph comes from."""
    return Provenance(
        method,
        parameters=dict(parameters),
        seed=seed,
        model=wiring.model.name,
        weight_hash=wiring.model.weight_hash,
        corpus_hash=text_hash(examples.items),
        selection="the output at each example's last token" if wiring.feature_axis == -1 else "the whole output",
        cost={"seconds": seconds, "edges": len(wiring.edges), "examples": len(examples)},
    )


def _search(method: Method, steps: int, threshold: float) -> Callable[[Examples, Metric, Progress], Any]:
    """The method's function, imported when it is used."""
    home, name = _METHODS[method]
    found = getattr(importlib.import_module(f"interp.causal.{home}"), name)
    every: dict[str, dict[str, Any]] = {
        "eap-ig-inputs": {"steps": steps},
        "eap-ig-activations": {"steps": steps},
        "acdc": {"threshold": threshold},
    }
    options = every.get(method, {})
    if method in DECIDING:
        return lambda examples, metric, progress: found(examples.wiring, examples, metric, progress=progress, **options)
    return lambda examples, metric, progress: found(examples, metric, progress=progress, **options)


def _refuse_constant(
    clean: Float[np.ndarray, " example"], replaced: Float[np.ndarray, " example"], table: Float[np.ndarray, "example edge"]
) -> None:
    scale = max(1.0, float(np.abs(clean).max()))
    if float(np.abs(clean - replaced).max()) <= CONSTANT * scale and not np.any(np.abs(table) > CONSTANT * scale):
        raise InputError(
            f"the metric is {clean[0]:.4g} with nothing replaced and with everything replaced, for all {len(clean)} examples; "
            "choose a metric, or counterfactuals, that tell the two apart"
        )
