"""path_effects(): one call for every network, method and replacement value."""

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
    clean, replaced = clean_and_replaced(examples, metric)
    chosen = wiring.edges if edges is None else wiring.numbers(edges)
    if edges is not None and method != "exact":
        raise InputError(f"edges can be chosen for method 'exact' only, not {method!r}; the others give all edges at once")
    search = _search(method, steps, threshold)
    if method in ("acdc", "interventional", "regression"):
        return search(examples, metric, progress)
    table = exact(examples, metric, clean, chosen, progress=progress) if method == "exact" else search(examples, metric, progress)
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
    from interp.causal.acdc import acdc
    from interp.causal.interventional import interventional_graph
    from interp.causal.regression import regression_graph

    from interp.causal.attention_fix import eap_qk
    from interp.causal.eap import eap
    from interp.causal.eap_ig import eap_ig_activations, eap_ig_inputs
    from interp.causal.graddrop import eap_graddrop

    found: dict[str, Callable[[Examples, Metric, Progress], Any]] = {
        "eap": lambda examples, metric, progress: eap(examples, metric, progress=progress),
        "eap-ig-inputs": lambda examples, metric, progress: eap_ig_inputs(examples, metric, steps=steps, progress=progress),
        "eap-ig-activations": lambda examples, metric, progress: eap_ig_activations(examples, metric, steps=steps, progress=progress),
        "eap-qk": lambda examples, metric, progress: eap_qk(examples, metric, progress=progress),
        "eap-graddrop": lambda examples, metric, progress: eap_graddrop(examples, metric, progress=progress),
        "acdc": lambda examples, metric, progress: acdc(examples.wiring, examples, metric, threshold=threshold, progress=progress),
        "interventional": lambda examples, metric, progress: interventional_graph(examples.wiring, examples, metric, progress=progress),
        "regression": lambda examples, metric, progress: regression_graph(examples.wiring, examples, metric),
        "exact": lambda examples, metric, progress: None,
    }
    return found[method]


def _refuse_constant(
    clean: Float[np.ndarray, " example"], replaced: Float[np.ndarray, " example"], table: Float[np.ndarray, "example edge"]
) -> None:
    scale = max(1.0, float(np.abs(clean).max()))
    if float(np.abs(clean - replaced).max()) <= CONSTANT * scale and not np.any(np.abs(table) > CONSTANT * scale):
        raise InputError(
            f"the metric is {clean[0]:.4g} with nothing replaced and with everything replaced, for all {len(clean)} examples; "
            "choose a metric, or counterfactuals, that tell the two apart"
        )
