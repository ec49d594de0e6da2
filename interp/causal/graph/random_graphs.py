"""Random graphs with as many edges per layer as a given one: what every judgement of a graph is
held against.
"""

import numpy as np
from jaxtyping import Bool, Int

from interp.causal.graph.graph import CausalGraph


def port_layers(graph: CausalGraph) -> Int[np.ndarray, " edge"]:
    """The layer of the port of every edge."""
    return np.array([port.layer for port in graph.ports])[graph.edges[:, 1]]


def random_like(
    graph: CausalGraph, kept: Bool[np.ndarray, " edge"], *, seed: int
) -> Bool[np.ndarray, " edge"]:
    """Random edges of the network, in every layer (of the port) as many as `kept` has there, all
    equally likely.

    One seed is one order of all edges: if `kept` grows, so does the random graph, and the smaller
    lies within the larger.

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
    """Some graphs, and then their like of each of several random orders."""
    random = [
        [random_like(graph, kept, seed=order) for kept in graphs]
        for order in seeds_of(seed, orders)
    ]
    return [graphs, *random]


def seeds_of(seed: int, count: int) -> list[int]:
    """Seeds of several random graphs, none the same for different `seed`."""
    return [int(child.generate_state(1)[0]) for child in np.random.SeedSequence(seed).spawn(count)]
