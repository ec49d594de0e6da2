"""Random graphs with as many edges per layer as a given one, the control of every check."""

import numpy as np
from jaxtyping import Bool, Int

from interp.causal.graph.graph import CausalGraph


def port_layers(graph: CausalGraph) -> Int[np.ndarray, " edge"]:
    """The layer of the port of every edge."""
    return np.array([port.layer for port in graph.ports])[graph.edges[:, 1]]


def random_like(
    graph: CausalGraph, kept: Bool[np.ndarray, " edge"], *, seed: int
) -> Bool[np.ndarray, " edge"]:
    """Equally likely random edges, in every layer (of the port) as many as `kept` has there.

    A seed fixes one order of all edges: as `kept` grows, so does the random graph, each within the
    next.

    Example:
        >>> random_like(graph, chosen(graph, 50), seed=0).sum()
        50
    """
    layers = port_layers(graph)
    order = np.lexsort((np.random.default_rng(seed).random(len(layers)), layers))
    ordered = layers[order]
    place = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    wanted = np.bincount(layers[kept], minlength=int(layers.max(initial=0)) + 1)
    found = np.zeros(len(layers), dtype=bool)
    found[order[place < wanted[ordered]]] = True
    return found


def with_random(
    graph: CausalGraph, graphs: list[Bool[np.ndarray, " edge"]], seed: int, orders: int
) -> list[list[Bool[np.ndarray, " edge"]]]:
    """The graphs, and for each of several random orders their random counterparts."""
    random = [
        [random_like(graph, kept, seed=order) for kept in graphs]
        for order in seeds_of(seed, orders)
    ]
    return [graphs, *random]


def seeds_of(seed: int, count: int) -> list[int]:
    """Independent seeds of several random graphs."""
    return [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(count)]
