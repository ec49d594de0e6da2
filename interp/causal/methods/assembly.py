"""From a search's table of effects to a graph with its provenance."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.causal.graph.graph import CausalGraph, Method
from interp.causal.methods.search import clean_and_replaced
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.wiring import Metric
from interp.core import Provenance, text_hash


def assembled(
    examples: Examples,
    metric: Metric,
    method: Method,
    table: Float[np.ndarray, "example edge"],
    parameters: Mapping[str, Any],
    start: float,
    *,
    edges: Int[np.ndarray, "edge 2"] | None = None,
    ends: tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"]] | None = None,
    seed: int | None = None,
    kept: Bool[np.ndarray, " edge"] | None = None,
    details: Mapping[str, Float[np.ndarray, " edge"]] | None = None,
) -> CausalGraph:
    """The graph of a search that began at `start` (seconds of `time.perf_counter`), by default of
    all the wiring's edges.

    `ends` are the metric with nothing and with everything replaced, if already measured.
    """
    wiring = examples.wiring
    clean, replaced = clean_and_replaced(examples, metric) if ends is None else ends
    provenance = Provenance(
        method,
        parameters=dict(parameters),
        seed=seed,
        model=wiring.model.name,
        weight_hash=wiring.model.weight_hash,
        corpus_hash=text_hash(examples.items),
        selection="the output at each example's last token"
        if wiring.feature_axis == -1
        else "the whole output",
        cost={
            "seconds": time.perf_counter() - start,
            "edges": len(wiring.edges),
            "examples": len(examples),
        },
    )
    return CausalGraph(
        nodes=wiring.sources,
        ports=wiring.ports,
        edges=wiring.edges if edges is None else edges,
        per_example=table,
        clean=clean,
        replaced=replaced,
        method=method,
        value=examples.value,
        metric=getattr(metric, "name", "metric"),
        provenance=provenance,
        kept=kept,
        details=details or {},
    )
