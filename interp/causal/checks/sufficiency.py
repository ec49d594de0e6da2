"""Sufficiency and necessity: behaviour with only the graph and without it, by its size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from interp.causal.checks.faithfulness import share_of, top
from interp.causal.checks.normalised import Normalised
from interp.causal.graph.graph import CausalGraph
from interp.causal.graph.random_graphs import with_random
from interp.causal.graph.selection import Reader, chosen, readings, require_path, require_same
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.replacement import Value
from interp.causal.wiring.wiring import Metric, Wiring
from interp.core import InputError, Progress, Score, bootstrap_mean, silent
from interp.core.display.markup import Html, block, facts, foreign, table
from interp.core.display.scores import axis_note, score_cells

SIZES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Standing:
    """One state of the network: its metric and share of correct answers; controls are random graphs
    of the same size.
    """

    metric: Score
    accuracy: Score | None


@dataclass(frozen=True, kw_only=True)
class Sufficiency:
    """The network as it is (`whole`), with only a graph of `edges` among `total` edges, without it,
    and with everything replaced.

    `insertion` is `f = (m − m(∅)) / (m(full) − m(∅))` with only the strongest shares `fractions`,
    `deletion` the same without them: where the graph carries the behaviour the first rises early
    and the second falls early. Controls are the means of `random` graphs with as many edges per
    layer.
    """

    edges: int
    total: int
    whole: Standing
    only: Standing
    without: Standing
    nothing: Standing
    fractions: Float[np.ndarray, " k"]
    insertion: tuple[Score, ...]
    deletion: tuple[Score, ...]
    value: Value
    metric: str
    random: int
    seed: int

    def __str__(self) -> str:
        return (
            f"{self.edges} of {self.total} edges: only these {self.only.metric}, without them "
            f"{self.without.metric}"
        )

    def _repr_html_(self) -> str:
        states = (self.whole, self.only, self.without, self.nothing)
        metrics, right = [state.metric for state in states], [state.accuracy for state in states]
        names = ("as it is", "only the graph", "without the graph", "everything replaced")
        rows = list(
            zip(
                names,
                score_cells(metrics),
                score_cells(right),
                [score.n for score in metrics],
                strict=True,
            )
        )
        title = (
            f"Metric: {axis_note(metrics)}; share right: {axis_note(right)}; controls: random "
            "graphs of the same size"
        )
        body = table(
            ("the network", "metric", "share right", "n"), rows, caption=title, muted={0, 3}
        )
        about = [
            ("metric", foreign(self.metric)),
            ("replaced by", self.value),
            ("random graphs", self.random),
            ("seed", self.seed),
        ]
        return block(
            "Sufficiency",
            body,
            self._curves(),
            facts(about),
            about=f"of {self.edges:,} of {self.total:,} edges",
        )

    def _curves(self) -> Html:
        both = score_cells([*self.insertion, *self.deletion])
        half = len(self.fractions)
        rows = [
            (f"{share:.1%}", *cells)
            for share, *cells in zip(self.fractions, both[:half], both[half:], strict=True)
        ]
        title = (
            "What is left of the behaviour, 1: all of it "
            f"({axis_note([*self.insertion, *self.deletion])})"
        )
        return table(("share of the graph", "only these", "without these"), rows, caption=title)


def sufficiency(
    wiring: Wiring,
    examples: Examples,
    metric: Metric,
    graph: CausalGraph,
    *,
    correct: Reader | None = None,
    count: int | None = None,
    seed: int = 0,
    random: int = 3,
    fractions: Sequence[float] = SIZES,
    progress: Progress = silent,
) -> Sufficiency:
    """Run with only the graph (all other edges replaced) and without it, beside random graphs of
    the same size.

    `correct(output, rows)` says of every case whether the network is right. The graph is the
    `count` strongest edges (by default those the method kept, or the strongest 5 %). Deletion and
    insertion: Petsiuk, Das & Saenko 2018, over edges.

    Raises:
        InputError: no path leads through the graph, the metric is constant, the graph is of another
            network, or `random` is 0.

    Cost: `2 (1 + len(fractions)) (1 + random)` forward passes over the examples.

    Example:
        >>> found = sufficiency(
        ...     wiring,
        ...     examples,
        ...     metric,
        ...     graph,
        ...     correct=lambda logits, rows: logits.argmax(-1) == answers[rows],
        ... )
        >>> print(found.only.accuracy)
    """
    require_same(wiring, examples, graph)
    if random < 1:
        raise InputError(f"random is {random}; at least one random graph is needed as control")
    own = chosen(graph, count)
    require_path(graph, own)
    shares = np.asarray(fractions, dtype=float)
    graphs = [own, *(top(graph, share_of(graph, share)) for share in shares)]
    families = with_random(graph, graphs, seed, random)
    ends, only, without = _read(
        wiring, examples, families, [metric] if correct is None else [metric, correct], progress
    )
    # Family 0 is the graph's own, the others random; graph 0 of each is the graph to judge, the
    # others are its shares.
    curves = [
        Normalised(
            clean=ends[0, 0],
            replaced=ends[0, 1],
            own=side[0, 0, 1:],
            random=side[0, 1:, 1:],
            seed=seed,
        ).curve()
        for side in (only, without)
    ]
    return Sufficiency(
        edges=int(own.sum()),
        total=len(own),
        whole=_standing(ends[:, 0], None, seed),
        only=_standing(only[:, 0, 0], only[:, 1:, 0], seed),
        without=_standing(without[:, 0, 0], without[:, 1:, 0], seed),
        nothing=_standing(ends[:, 1], None, seed),
        fractions=shares,
        insertion=curves[0],
        deletion=curves[1],
        value=graph.value,
        metric=graph.metric,
        random=random,
        seed=seed,
    )


def _read(
    wiring: Wiring,
    examples: Examples,
    families: list[list[Bool[np.ndarray, " edge"]]],
    readers: list[Reader],
    progress: Progress,
) -> tuple[
    Float[np.ndarray, "reader 2 example"],
    Float[np.ndarray, "reader family graph example"],
    Float[np.ndarray, "reader family graph example"],
]:
    """Readings with nothing and everything replaced; with only each graph; without each graph."""
    # One call for all: the whole and the empty graph recur among the shares and are run once. The
    # second half of the masks are the complements, hence the axis of 2 below.
    everything = np.ones_like(families[0][0])
    masks = [kept for family in families for kept in family]
    read = readings(
        wiring,
        examples,
        [everything, ~everything, *masks, *(~kept for kept in masks)],
        readers,
        progress=progress,
    )
    sides = read[:, 2:].reshape(len(read), 2, len(families), len(families[0]), len(examples))
    return read[:, :2], sides[:, 0], sides[:, 1]


def _standing(
    own: Float[np.ndarray, "reader example"],
    random: Float[np.ndarray, "reader order example"] | None,
    seed: int,
) -> Standing:
    controls = [None] * len(own) if random is None else [float(values.mean()) for values in random]
    scores = [
        bootstrap_mean(values, seed=seed, control=control)
        for values, control in zip(own, controls, strict=True)
    ]
    return Standing(scores[0], scores[1] if len(scores) > 1 else None)
