"""Faithfulness: how much of a behaviour the strongest edges alone preserve (MIB's CPR and CMD)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.causal.checks.normalised import Normalised
from interp.causal.graph.graph import CausalGraph, Method
from interp.causal.graph.random_graphs import with_random
from interp.causal.graph.selection import on_paths, readings, require_path, require_same
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.replacement import Value
from interp.causal.wiring.wiring import Metric, Wiring
from interp.core import InputError, Progress, Score, bootstrap_mean, silent
from interp.core.display.markup import Html, block, element, facts, foreign, numeral, table
from interp.core.display.scores import axis_note, score_cells, score_table

FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The shares of all edges that MIB keeps."""


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """`f(k) = (m(C_k) − m(∅)) / (m(full) − m(∅))` for the strongest shares `fractions` of all
    edges, and the areas under it.

    `curve` holds f with its interval over examples and, as control, the mean of random graphs with
    as many edges per layer; `random_curve` those with their own interval. `cpr = ∫ f` (large is
    good; it can exceed 1, where edges that work against the behaviour are left out),
    `cmd = ∫ |1 − f|` (small is good), each with that of random graphs as control. `edges` counts
    each share's edges after pruning. `clean` and `replaced` are m(full) and m(∅).
    """

    fractions: Float[np.ndarray, " k"]
    edges: Int[np.ndarray, " k"]
    curve: tuple[Score, ...]
    random_curve: tuple[Score, ...]
    cpr: Score
    cmd: Score
    random_cpr: Score
    random_cmd: Score
    clean: Score
    replaced: Score
    method: Method
    value: Value
    metric: str
    random: int
    seed: int
    absolute: bool = True
    pruned: bool = True

    def __str__(self) -> str:
        return (
            f"CPR {self.cpr}, CMD {self.cmd}; value {self.value}, {self.random} random orders, "
            f"seed {self.seed}"
        )

    @property
    def beats_random(self) -> bool:
        """Whether the CMD's whole interval lies below that of random graphs."""
        return self.cmd.high < self.random_cmd.low

    @property
    def verdict(self) -> str:
        """`beats_random` in words."""
        return (
            f"{'' if self.beats_random else 'not clearly '}more faithful than random graphs "
            "with as many edges per layer"
        )

    def _repr_html_(self) -> str:
        areas = [
            ("CMD", self.cmd),
            ("CMD of random graphs", self.random_cmd),
            ("CPR", self.cpr),
            ("CPR of random graphs", self.random_cpr),
        ]
        about = (
            "Areas over the shares kept; CMD: distance from the whole network, small is good; "
            "CPR: large is good"
        )
        body = score_table(("", "area"), areas, about=about, muted={1, 3})
        return block(
            "Faithfulness",
            element("p", element("b", f"{self.verdict.capitalize()}.")),
            body,
            self._curves(),
            self._conditions(),
        )

    def _curves(self) -> Html:
        both = score_cells([*self.curve, *self.random_curve])
        shares = [
            (f"{share:.1%}", f"{count:,}")
            for share, count in zip(self.fractions, self.edges, strict=True)
        ]
        rows = [
            (*own, *cells)
            for own, *cells in zip(shares, both[: len(shares)], both[len(shares) :], strict=True)
        ]
        about = (
            "Behaviour left with the strongest edges only, 1: all of it "
            f"({axis_note([*self.curve, *self.random_curve])})"
        )
        return table(("edges kept", "on paths", "graph", "random graphs"), rows, caption=about)

    def _conditions(self) -> Html:
        return facts(
            [
                ("method", self.method),
                ("replaced by", self.value),
                ("metric", foreign(self.metric)),
                ("n", f"{self.clean.n:,}"),
                ("metric as it is", numeral(self.clean.value)),
                ("with everything replaced", numeral(self.replaced.value)),
                ("random graphs", self.random),
                ("seed", self.seed),
                (
                    "order",
                    "by |effect|" if self.absolute else "by effect towards the replaced metric",
                ),
            ]
        )


def faithfulness(
    wiring: Wiring,
    examples: Examples,
    metric: Metric,
    graph: CausalGraph,
    *,
    seed: int = 0,
    random: int = 5,
    absolute: bool = True,
    prune: bool = True,
    fractions: Sequence[float] = FRACTIONS,
    progress: Progress = silent,
) -> Faithfulness:
    """Keep the strongest 0.1, 0.2, 0.5, 1, … 100 % of the edges, replace all others, and measure
    (Mueller et al. 2025, MIB).

    Edges are ordered by |effect|; without `absolute` by how far replacing them moves the metric
    from its clean towards its replaced value, so that edges that work against the behaviour come
    last (MIB's choice for CPR). `prune` removes, before each measurement, kept edges on no path
    from the inputs to the output. `examples` should be held out from the search, with the same
    value.

    Raises:
        InputError: the metric is constant, no path leads from inputs to output, the graph is of
            another network or value, or `random` is 0.

    Cost: `len(fractions) · (1 + random)` forward passes over the examples; the full and the empty
    graph run once.

    Example:
        >>> judged = faithfulness(wiring, examples, metric, graph)
        >>> str(judged.cmd)
        '0.031 [0.021, 0.044] (n=100, control 0.747)'
    """
    _check(wiring, examples, graph, random, fractions)
    sizes = np.asarray(fractions, dtype=float)
    families = with_random(
        graph, [top(graph, share_of(graph, share), absolute) for share in sizes], seed, random
    )
    if prune:
        families = [[on_paths(graph, kept) for kept in family] for family in families]
    # One call, with the ends: a graph that occurs twice is run once.
    everything = np.ones(len(graph.edges), dtype=bool)
    masks = [everything, ~everything, *(kept for family in families for kept in family)]
    measured = readings(wiring, examples, masks, [metric], progress=progress)[0]
    table = measured[2:].reshape(len(families), len(sizes), len(examples))
    normalised = Normalised(
        clean=measured[0], replaced=measured[1], own=table[0], random=table[1:], seed=seed
    )
    cpr, random_cpr = normalised.area(sizes, distance=False)
    cmd, random_cmd = normalised.area(sizes, distance=True)
    return Faithfulness(
        fractions=sizes,
        edges=np.array([int(kept.sum()) for kept in families[0]]),
        curve=normalised.curve(),
        random_curve=normalised.random_curve(),
        cpr=cpr,
        cmd=cmd,
        random_cpr=random_cpr,
        random_cmd=random_cmd,
        clean=bootstrap_mean(measured[0], seed=seed),
        replaced=bootstrap_mean(measured[1], seed=seed),
        method=graph.method,
        value=graph.value,
        metric=graph.metric,
        random=random,
        seed=seed,
        absolute=absolute,
        pruned=prune,
    )


def share_of(graph: CausalGraph, share: float) -> int:
    """The number of edges in a share of all."""
    # 1e-9 because a product may just miss a whole number, as 0.29 · 100 does.
    return int(len(graph.edges) * share + 1e-9)


def top(graph: CausalGraph, count: int, absolute: bool = True) -> Bool[np.ndarray, " edge"]:
    """The `count` strongest edges; without `absolute` those whose replacement moves the metric most
    from clean towards replaced.
    """
    found = np.zeros(len(graph.edges), dtype=bool)
    if absolute:
        found[graph.strongest(count)] = True
        return found
    towards = graph.effects * np.sign(graph.replaced.mean() - graph.clean.mean())
    found[np.argsort(-towards, kind="stable")[:count]] = True
    return found


def _check(
    wiring: Wiring, examples: Examples, graph: CausalGraph, random: int, fractions: Sequence[float]
) -> None:
    require_same(wiring, examples, graph)
    require_path(graph, np.ones(len(graph.edges), dtype=bool))
    if random < 1:
        raise InputError(
            f"random is {random}; at least one random order is needed, because a curve says "
            "nothing without its control"
        )
    if (
        len(fractions) < 2
        or list(fractions) != sorted(set(fractions))
        or not 0 <= fractions[0] < fractions[-1] <= 1
    ):
        raise InputError(
            f"fractions {list(fractions)} are not two or more rising shares between 0 and 1"
        )
