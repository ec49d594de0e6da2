"""Stability: the overlap of graphs found on other examples or with other seeds, beside chance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

from interp.causal.graph.graph import CausalGraph
from interp.causal.graph.random_graphs import random_like, seeds_of
from interp.causal.graph.selection import chosen
from interp.causal.wiring.examples import Examples
from interp.core import InputError, Score
from interp.core.display.markup import block, facts
from interp.core.display.scores import score_table
from interp.core.score import bootstrap_indices

Find = Callable[[Examples], CausalGraph]

CHANCE_DRAWS = 10
"""Pairs of random graphs for every pair compared."""


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Jaccard overlap `|A ∩ B| / |A ∪ B|` of graphs found twice; controls are random graphs with as
    many edges per layer.

    `halves` compares disjoint halves of the examples, over `splits` random splits; `seeds` graphs
    of other seeds, if given. Splits share examples, so the interval is the mean's, not one for
    other examples. `edges` is the mean size.
    """

    halves: Score
    seeds: Score | None
    edges: float
    splits: int
    seed: int

    def __str__(self) -> str:
        return f"halves {self.halves}" + ("" if self.seeds is None else f", seeds {self.seeds}")

    def _repr_html_(self) -> str:
        rows = [("halves of the examples", self.halves), ("other seeds", self.seeds)]
        title = (
            "Edges that both graphs have by edges that either has; control: random graphs "
            "with as many edges per layer"
        )
        body = score_table(("found again on", "overlap"), rows, about=title)
        return block(
            "Stability",
            body,
            facts(
                [
                    ("edges, mean", f"{self.edges:,.1f}"),
                    ("splits", self.splits),
                    ("seed", self.seed),
                ]
            ),
        )


def stability(
    find: Find,
    examples: Examples,
    *,
    count: int | None = None,
    splits: int = 5,
    others: Sequence[CausalGraph] = (),
    seed: int = 0,
) -> Stability:
    """Find the graph on random halves of the examples and compare; `others`, graphs of other seeds,
    are compared pair by pair.

    A graph is its `count` strongest edges; by default those its method kept, or the strongest 5 %.

    Raises:
        InputError: there are fewer than two examples, no split, or a single other graph.

    Cost: `2 · splits` searches on half of the examples.

    Example:
        >>> stability(lambda part: find_graph(part), examples, count=50).halves.control
        0.012
    """
    if len(examples) < 2 or splits < 1 or len(others) == 1:
        raise InputError(
            f"{len(examples)} examples, {splits} splits and {len(others)} other graphs; to "
            "compare, give at least 2 examples and 1 split, and no other graph or at least 2"
        )
    pairs = []
    for split in seeds_of(seed, splits):
        order = np.random.default_rng(split).permutation(len(examples))
        half = len(order) // 2
        first, second = np.sort(order[:half]), np.sort(order[half:])
        pairs.append((find(examples.take(first)), find(examples.take(second))))
    sizes = [chosen(graph, count).sum() for pair in pairs for graph in pair]
    compared = overlap(list(combinations(others, 2)), count=count, seed=seed) if others else None
    return Stability(
        halves=overlap(pairs, count=count, seed=seed),
        seeds=compared,
        edges=float(np.mean(sizes)),
        splits=splits,
        seed=seed,
    )


def stability_of(
    graph: CausalGraph, *, count: int | None = None, splits: int = 5, seed: int = 0
) -> Stability:
    """`stability` of a graph whose effects are per example: its own halves, without a new search.

    Raises:
        InputError: there are fewer than two examples, or the method looks at all examples together
            (ACDC, the interventional graph).

    Example:
        >>> stability_of(path_effects(model, prompts, others, metric=metric)).halves
    """
    if graph.kept is not None:
        raise InputError(
            f"{graph.method} decides on all examples together; use stability(find, examples), "
            "which searches again on halves"
        )
    if len(graph.per_example) < 2 or splits < 1:
        raise InputError(
            f"{len(graph.per_example)} examples and {splits} splits; to compare, give at least 2 "
            "examples and 1 split"
        )
    pairs = []
    for split in seeds_of(seed, splits):
        order = np.random.default_rng(split).permutation(len(graph.per_example))
        pairs.append((graph.take(order[: len(order) // 2]), graph.take(order[len(order) // 2 :])))
    return Stability(
        halves=overlap(pairs, count=count, seed=seed),
        seeds=None,
        edges=float(chosen(graph, count).sum()),
        splits=splits,
        seed=seed,
    )


def overlap(
    pairs: Sequence[tuple[CausalGraph, CausalGraph]], *, count: int | None = None, seed: int = 0
) -> Score:
    """The mean Jaccard overlap of pairs of graphs, with a bootstrap interval over pairs; control:
    random graphs like them.

    Raises:
        InputError: there is no pair, or two graphs are of different networks.
    """
    if not pairs or any(not np.array_equal(first.edges, second.edges) for first, second in pairs):
        raise InputError(
            f"{len(pairs)} pairs of graphs; at least one pair is needed, all of one network"
        )
    values, chance = [], []
    drawn = np.reshape(seeds_of(seed, 2 * CHANCE_DRAWS * len(pairs)), (len(pairs), CHANCE_DRAWS, 2))
    for (first, second), seeds in zip(pairs, drawn, strict=True):
        masks = chosen(first, count), chosen(second, count)
        values.append(jaccard(*masks))
        chance += [
            jaccard(
                random_like(first, masks[0], seed=int(one)),
                random_like(second, masks[1], seed=int(other)),
            )
            for one, other in seeds
        ]
    return _over_pairs(np.array(values), float(np.mean(chance)), seed)


def jaccard(first: Bool[np.ndarray, " edge"], second: Bool[np.ndarray, " edge"]) -> float:
    """`|A ∩ B| / |A ∪ B|`; 1 where both are empty."""
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else 1.0


def _over_pairs(values: Float[np.ndarray, " pair"], chance: float, seed: int) -> Score:
    draws = np.concatenate(
        [values[index].mean(axis=1) for index in bootstrap_indices(len(values), 2000, seed)]
    )
    return Score.of_draws(
        values.mean(),
        draws,
        n=len(values),
        seed=seed,
        control=chance,
        interval="bootstrap 95% over pairs of graphs",
    )
