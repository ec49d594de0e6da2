"""A metric between everything replaced (0) and nothing replaced (1), with intervals over examples,
and the areas under its curve.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from interp.core import InputError, Score

RESAMPLES = 1000
CONSTANT = 1e-5
"""A metric that moves by less than this share of its own size is constant."""

OVER_EXAMPLES = "bootstrap 95% over examples"
OVER_BOTH = "bootstrap 95% over examples and random graphs"


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """`f = (m(graph) − m(∅)) / (m(full) − m(∅))`, a ratio of means over examples, of graphs and
    random graphs.

    `clean [example]` is the metric with nothing replaced, `replaced` with everything;
    `own [graph, example]` and `random [order, graph, example]` the measurements in between.
    Intervals resample examples (the same for numerator, denominator and all graphs) and, for random
    graphs, orders too.

    Raises:
        InputError: the metric does not change when everything is replaced.
    """

    clean: Float[np.ndarray, " example"]
    replaced: Float[np.ndarray, " example"]
    own: Float[np.ndarray, "graph example"]
    random: Float[np.ndarray, "order graph example"]
    seed: int = 0

    def __post_init__(self) -> None:
        size = max(np.abs(self.clean).max(), np.abs(self.replaced).max())
        if abs(self.clean.mean() - self.replaced.mean()) <= CONSTANT * size:
            raise InputError(
                f"the metric is constant: {self.clean.mean():.6g} with nothing and "
                f"{self.replaced.mean():.6g} with everything replaced; no edge can matter to it, "
                "so choose another metric, or counterfactuals that change it"
            )

    @cached_property
    def _weights(self) -> Float[np.ndarray, "resample example"]:
        """Equal weights first, then resamples."""
        n = len(self.clean)
        drawn = (
            np.random.default_rng(self.seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
        )
        return np.concatenate([np.full((1, n), 1 / n), drawn])

    @cached_property
    def _order_weights(self) -> Float[np.ndarray, "resample order"]:
        n = len(self.random)
        drawn = (
            np.random.default_rng([self.seed, 1]).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
            / n
        )
        return np.concatenate([np.full((1, n), 1 / n), drawn])

    def _shares(
        self, measured: Float[np.ndarray, "*graphs example"]
    ) -> Float[np.ndarray, "resample *graphs"]:
        empty = self._weights @ self.replaced
        span = self._weights @ self.clean - empty
        span[span == 0] = np.nan
        return np.moveaxis((measured @ self._weights.T - empty) / span, -1, 0)

    @cached_property
    def shares(self) -> Float[np.ndarray, "resample graph"]:
        """f of every graph: first over all examples, then over resamples."""
        return self._shares(self.own)

    @cached_property
    def random_shares(self) -> Float[np.ndarray, "resample order graph"]:
        """f of every random graph, likewise."""
        return self._shares(self.random)

    def curve(self) -> tuple[Score, ...]:
        """f of every graph; its control is the mean of random graphs of its size."""
        controls = self.random_shares[0].mean(axis=0)
        return tuple(
            self._score(column, OVER_EXAMPLES, float(c))
            for column, c in zip(self.shares.T, controls, strict=True)
        )

    def random_curve(self) -> tuple[Score, ...]:
        """The mean of f over random graphs of every size."""
        mixed = (self.random_shares * self._order_weights[:, :, None]).sum(axis=1)
        return tuple(self._score(column, OVER_BOTH) for column in mixed.T)

    def area(
        self, fractions: Float[np.ndarray, " graph"], *, distance: bool
    ) -> tuple[Score, Score]:
        """The area under the curve, or between it and 1 (`distance`): of the graphs, and the mean
        over orders of random ones.
        """
        pick = 1 if distance else 0
        by_order = areas(fractions, self.random_shares)[pick]
        random = self._score((by_order * self._order_weights).sum(axis=1), OVER_BOTH)
        return self._score(areas(fractions, self.shares)[pick], OVER_EXAMPLES, random.value), random

    def _score(
        self, values: Float[np.ndarray, " resample"], interval: str, control: float | None = None
    ) -> Score:
        draws = values[1:]
        return Score.of_draws(
            values[0],
            draws[~np.isnan(draws)],
            n=len(self.clean),
            seed=self.seed,
            control=control,
            interval=interval,
        )


def areas(
    fractions: Float[np.ndarray, " graph"], shares: Float[np.ndarray, "*curves graph"]
) -> tuple[Float[np.ndarray, "*curves"], Float[np.ndarray, "*curves"]]:
    """`CPR = ∫ f` and `CMD = ∫ |1 − f|` over the fractions, by trapezoids (Mueller et al. 2025,
    MIB).

    Example:
        >>> areas(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
        (0.5, 0.5)
    """
    steps = np.diff(fractions)

    def area(heights: Float[np.ndarray, "*curves graph"]) -> Float[np.ndarray, "*curves"]:
        return np.asarray(((heights[..., 1:] + heights[..., :-1]) / 2) @ steps)

    return area(shares), area(np.abs(1 - shares))
