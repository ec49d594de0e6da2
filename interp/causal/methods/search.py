"""Shared by the search methods: edges' effects collected by batch, and the metric's two ends."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.wiring.examples import Examples, Part
from interp.causal.wiring.wiring import Wiring
from interp.core import Progress, silent


def over_batches(
    examples: Examples,
    effects: Callable[[Part], Float[Tensor, "row source port"]],
    *,
    what: str,
    progress: Progress = silent,
) -> Float[np.ndarray, "example edge"]:
    """Effects of every batch, picked at the wiring's edges, in the order of the examples."""
    edges = examples.wiring.edges
    table = np.empty((len(examples), len(edges)), dtype=np.float32)
    done = 0
    for part in examples:
        table[part.rows.numpy()] = effects(part)[:, edges[:, 0], edges[:, 1]].numpy()
        done += len(part.rows)
        progress(what, done, len(examples), "example")
    return table


def averaged_over(
    moments: int, effects: Callable[[int], Float[Tensor, "row source port"]]
) -> Float[Tensor, "row source port"]:
    """The mean of several tables, one in memory at a time."""
    total = effects(0)
    for number in range(1, moments):
        total += effects(number)
    return total / moments


def clean_and_replaced(
    examples: Examples, metric: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"]]:
    """Each example's metric with nothing and with every contribution replaced."""
    clean, replaced = np.empty(len(examples)), np.empty(len(examples))
    wiring = examples.wiring
    with torch.no_grad():
        for part in examples:
            rows = part.rows.numpy()
            clean[rows] = metric(wiring.output(part.batch), part.rows).cpu().numpy()
            replaced[rows] = metric(_all_replaced(wiring, part), part.rows).cpu().numpy()
    return clean, replaced


def _all_replaced(wiring: Wiring, part: Part) -> Tensor:
    # With every contribution taken from the counterfactual, the run is the counterfactual's.
    if part.changes.name == "resample" and part.other is not None:
        return wiring.output(part.other)
    return wiring.output(part.batch, part.changes, wiring.connected)
