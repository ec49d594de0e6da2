"""Predicted against measured effects: an attribution checked by the interventions it predicts."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from interp.causal.graph.graph import CausalGraph
from interp.causal.graph.selection import mean_scores, require_same
from interp.causal.methods.exact import exact
from interp.causal.methods.search import clean_and_replaced
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.replacement import Value
from interp.causal.wiring.wiring import Edge, Metric, Wiring
from interp.core import InputError, Progress, Score, silent
from interp.core.display.markup import Html, block, element, facts, foreign, numeral, table
from interp.core.display.scores import axis_note, score_cells, score_table

RESAMPLES = 2000
LISTED = 10
INTERVAL = "bootstrap 95% over edges"


@dataclass(frozen=True, kw_only=True)
class PredictionCheck:
    """Predicted and measured effects of the strongest edges (`is_top`) and a random sample of the
    rest.

    `spearman` and `pearson` are the correlations of predictions with the measured means over these
    edges, `among_top` and `among_random` the rank correlation within either group (None with fewer
    than three). Controls are the mean |correlation| of permuted predictions.
    `names`, `predicted` and `measured` (with intervals over examples) are the table, the strongest
    first.
    """

    names: tuple[Edge, ...]
    numbers: Int[np.ndarray, " edge"]
    predicted: Float[np.ndarray, " edge"]
    measured: tuple[Score, ...]
    is_top: Bool[np.ndarray, " edge"]
    spearman: Score
    pearson: Score
    among_top: Score | None
    among_random: Score | None
    value: Value
    metric: str
    method: str
    seed: int

    @property
    def table(self) -> list[tuple[Edge, float, Score]]:
        """Edge, predicted effect, measured effect."""
        return list(zip(self.names, self.predicted.tolist(), self.measured, strict=True))

    def __str__(self) -> str:
        return f"{len(self.names)} edges measured: Spearman {self.spearman}, Pearson {self.pearson}"

    def _repr_html_(self) -> str:
        verdict = (
            f"Measured effects {'rank' if self.spearman.low > 0 else 'do not clearly rank'} "
            "as predicted (Spearman's interval)."
        )
        names = ("Spearman, all", "Pearson, all", "Spearman, strongest", "Spearman, random others")
        groups = list(
            zip(
                names, (self.spearman, self.pearson, self.among_top, self.among_random), strict=True
            )
        )
        body = score_table(
            ("", "correlation"),
            groups,
            about="Predicted with measured effects; control: predictions permuted",
        )
        about = [
            ("method", self.method),
            ("replaced by", self.value),
            ("metric", foreign(self.metric)),
            ("seed", self.seed),
        ]
        size = (
            f"{int(self.is_top.sum()):,} strongest and {int((~self.is_top).sum()):,} random edges"
        )
        return block(
            "Predicted and measured",
            element("p", element("b", verdict)),
            body,
            self._edges(),
            facts(about),
            about=size,
        )

    def _edges(self) -> Html:
        shown = self.table[:LISTED]
        scores = [score for _, _, score in shown]
        cells = zip(shown, score_cells(scores, signed=True), strict=True)
        rows = [
            (foreign(edge), numeral(predicted, signed=True), cell)
            for (edge, predicted, _), cell in cells
        ]
        title = (
            f"The first {len(rows)} of {len(self.names):,} edges measured: effect on the "
            f"metric ({axis_note(scores)})"
        )
        return table(("edge", "predicted", "measured"), rows, caption=title)


def prediction_check(
    wiring: Wiring,
    examples: Examples,
    metric: Metric,
    graph: CausalGraph,
    *,
    top: int = 50,
    random: int = 50,
    seed: int = 0,
    progress: Progress = silent,
) -> PredictionCheck:
    """Replace each of the `top` strongest edges and of `random` others alone, and compare with the
    prediction.

    Both numbers are capped at what the network has. `examples` are of the graph's replacement
    value.

    Raises:
        InputError: fewer than three edges are left to compare, or the graph is of another network
            or value.

    Cost: exact patching of `top + random` edges.

    Example:
        >>> print(prediction_check(wiring, examples, metric, graph))
        100 edges measured: Spearman 0.94 [0.91, 0.96] (n=100, control 0.02), Pearson …
    """
    require_same(wiring, examples, graph)
    numbers, is_top = _sample(graph, top, random, seed)
    clean, _ = clean_and_replaced(examples, metric)
    table = exact(examples, metric, clean, graph.edges[numbers], progress=progress)
    predicted, measured = graph.effects[numbers].astype(float), mean_scores(table, seed=seed)
    means = np.array([score.value for score in measured])

    def compared(own: Bool[np.ndarray, " edge"]) -> Score | None:
        return (
            correlation(predicted[own], means[own], ranks=True, seed=seed)
            if own.sum() > 2
            else None
        )

    return PredictionCheck(
        names=tuple(graph.edge(int(number)) for number in numbers),
        numbers=numbers,
        predicted=predicted,
        measured=tuple(measured),
        is_top=is_top,
        spearman=correlation(predicted, means, ranks=True, seed=seed),
        pearson=correlation(predicted, means, ranks=False, seed=seed),
        among_top=compared(is_top),
        among_random=compared(~is_top),
        value=graph.value,
        metric=graph.metric,
        method=graph.method,
        seed=seed,
    )


def correlation(
    predicted: Float[np.ndarray, " edge"],
    measured: Float[np.ndarray, " edge"],
    *,
    ranks: bool,
    seed: int,
) -> Score:
    """Pearson's correlation, of ranks (Spearman's) or of the values, with a bootstrap interval over
    edges; NaN where one side is constant.

    The control is the mean |correlation| of permuted predictions: what chance alone reaches.
    """
    generator = np.random.default_rng(seed)
    n = len(predicted)
    drawn = generator.integers(0, n, (RESAMPLES, n))
    permuted = np.argsort(generator.random((RESAMPLES, n)), axis=1)
    own = float(_correlations(predicted[None], measured[None], ranks)[0])
    draws = _correlations(predicted[drawn], measured[drawn], ranks)
    chance = np.abs(
        _correlations(predicted[permuted], np.broadcast_to(measured, permuted.shape), ranks)
    )
    return Score.of_draws(
        own,
        draws[np.isfinite(draws)],
        n=n,
        seed=seed,
        control=float(np.mean(chance)),
        interval=INTERVAL,
    )


def _correlations(
    one: Float[np.ndarray, "draw edge"], other: Float[np.ndarray, "draw edge"], ranks: bool
) -> Float[np.ndarray, " draw"]:
    if ranks:
        one, other = rankdata(one, axis=1), rankdata(other, axis=1)
    one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    size = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.divide(
        (one * other).sum(axis=1), size, out=np.full(len(size), np.nan), where=size > 0
    )


def _sample(
    graph: CausalGraph, top: int, random: int, seed: int
) -> tuple[Int[np.ndarray, " edge"], Bool[np.ndarray, " edge"]]:
    """The strongest edges and a random sample of the others, each group by strength."""
    if top < 0 or random < 0 or min(top + random, len(graph.edges)) < 3:
        raise InputError(
            f"{top} strongest and {random} random of {len(graph.edges)} edges; at least 3 edges "
            "are needed to compare"
        )
    order = graph.strongest(len(graph.edges))
    rest = order[top:]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(rest))[:random])
    numbers = np.concatenate([order[:top], rest[drawn]])
    return numbers, np.arange(len(numbers)) < min(top, len(order))
