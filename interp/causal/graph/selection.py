"""The edges of a graph (kept, strongest, on paths), runs with only those, and their mean scores."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.wiring.examples import Examples
from interp.causal.wiring.wiring import Wiring
from interp.core import InputError, Progress, Score, silent
from interp.core.score import bootstrap_indices

if TYPE_CHECKING:
    from interp.causal.graph.graph import CausalGraph

SHARE = 0.05
"""The share of all edges that makes the graph by default."""

Reader = Callable[[Float[Tensor, "case *out"], Int[Tensor, " case"]], Tensor]
"""A number (or a truth value) for every case, from the network's output and the cases' numbers."""


def chosen(graph: "CausalGraph", count: int | None = None) -> Bool[np.ndarray, " edge"]:
    """The edges of the graph: the `count` strongest; by default those that its method kept, or the
    strongest 5 % where it only ranks.

    Raises:
        InputError: `count` is not between 1 and the number of edges, or the method kept no edge.

    Example:
        >>> chosen(graph, 50).sum()
        50
    """
    total = len(graph.edges)
    if count is None and graph.kept is not None:
        if not graph.kept.any():
            raise InputError(
                f"{graph.method} kept none of {total} edges; lower its threshold, or say how many "
                "edges to take (count=50)"
            )
        return graph.kept
    count = max(1, round(SHARE * total)) if count is None else count
    if not 1 <= count <= total:
        raise InputError(
            f"{count} edges were asked for; the graph has {total}, so give 1 to {total}"
        )
    mask = np.zeros(total, dtype=bool)
    mask[graph.strongest(count)] = True
    return mask


def on_paths(graph: "CausalGraph", kept: Bool[np.ndarray, " edge"]) -> Bool[np.ndarray, " edge"]:
    """The kept edges that lie on a path of kept edges from an input to an output.

    Inputs are the sources of the first layer (the embedding, an image's channels), outputs the
    ports of the last (the logits, every class). A part is reached if any of its inputs is (a head
    through its query, key or value). Cost: two sweeps over the ports.
    """
    table = np.zeros((len(graph.nodes), len(graph.ports)), dtype=bool)
    table[tuple(graph.edges[kept].T)] = True
    feeds = np.array([[node.name in port.nodes for node in graph.nodes] for port in graph.ports])
    reached, useful = np.zeros((2, len(graph.nodes)), dtype=bool)
    first, last = min(node.layer for node in graph.nodes), max(port.layer for port in graph.ports)
    reached[[node.layer == first for node in graph.nodes]] = True
    for port in range(len(graph.ports)):
        if (table[:, port] & reached).any():
            reached |= feeds[port]
    needed = np.zeros(len(graph.ports), dtype=bool)
    for port in reversed(range(len(graph.ports))):
        needed[port] = graph.ports[port].layer == last or (feeds[port] & useful).any()
        if needed[port]:
            useful |= table[:, port]
    return np.asarray(kept & reached[graph.edges[:, 0]] & needed[graph.edges[:, 1]])


def require_path(graph: "CausalGraph", kept: Bool[np.ndarray, " edge"]) -> None:
    """Check that a path of kept edges leads from the inputs to the output.

    Raises:
        InputError: none does.
    """
    if not on_paths(graph, kept).any():
        raise InputError(
            f"no path leads from {graph.nodes[0].name} to {graph.ports[-1].name} through the "
            f"graph's {int(kept.sum())} edges; take more edges, or another method"
        )


def require_same(wiring: Wiring, examples: Examples, graph: "CausalGraph") -> None:
    """Check that a graph has this network's edges and the examples' replacement value.

    Raises:
        InputError: it has not.
    """
    if examples.value != graph.value:
        raise InputError(
            f"the graph is of value {graph.value!r}, the examples of {examples.value!r}; use the "
            "same value, another one has another graph"
        )
    if not np.array_equal(wiring.edges, graph.edges) or [node.name for node in wiring.sources] != [
        node.name for node in graph.nodes
    ]:
        raise InputError(
            f"the graph has {len(graph.edges)} edges between other parts than the network's "
            f"{len(wiring.edges)}; give the network it is of"
        )


@torch.no_grad()
def readings(
    wiring: Wiring,
    examples: Examples,
    graphs: Sequence[Bool[np.ndarray, " edge"]],
    readers: Sequence[Reader],
    *,
    progress: Progress = silent,
) -> Float[np.ndarray, "reader graph example"]:
    """Readings of the output with all edges but each graph's replaced.

    Cost: one forward pass per batch and distinct graph.
    """
    distinct = {graph.tobytes(): graph for graph in graphs}
    places = [list(distinct).index(graph.tobytes()) for graph in graphs]
    found = np.empty((len(readers), len(distinct), len(examples)))
    done = 0
    for part in examples:
        for number, kept in enumerate(distinct.values()):
            output = wiring.output(part.batch, part.changes, wiring.mask(wiring.edges[~kept]))
            for place, reader in enumerate(readers):
                found[place, number, part.rows.numpy()] = (
                    reader(output, part.rows).float().cpu().numpy()
                )
            done += len(part.rows)
            progress("graphs", done, len(distinct) * len(examples), "graph × example")
    return found[:, places]


def mean_scores(
    values: Float[np.ndarray, "example column"], *, seed: int, resamples: int = 1000
) -> list[Score]:
    """The mean of every column with its 95 % percentile bootstrap interval over examples.

    Raises:
        InputError: there are no examples.
    """
    n = len(values)
    if n == 0:
        raise InputError("a score needs at least one example, got none")
    values = values.astype(float)
    draws = np.concatenate(
        [_counts(index, n) @ values / n for index in bootstrap_indices(n, resamples, seed)]
    )
    return [
        Score.of_draws(value, own, n=n, seed=seed)
        for value, own in zip(values.mean(axis=0), draws.T, strict=True)
    ]


def _counts(index: Int[np.ndarray, "resample n"], n: int) -> Float[np.ndarray, "resample n"]:
    flat = index + n * np.arange(len(index))[:, None]
    return np.bincount(flat.ravel(), minlength=len(index) * n).reshape(len(index), n).astype(float)
