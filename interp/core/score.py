"""Score: a number with its interval, n, seed and control; bootstraps that make one."""

import math
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, fields

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from interp.core.display.marks import interval
from interp.core.display.markup import block, estimate, facts, numeral
from interp.core.errors import InputError
from interp.core.plain import plain

PERCENTILE = "bootstrap 95%"


@dataclass(frozen=True)
class Score:
    """A number with its confidence interval, number of cases, seed and control.

    `control` is the same measurement where nothing should be found; `interval` names how low and
    high were computed.

    Example:
        >>> str(Score(0.91, 0.88, 0.94, n=50, seed=0, control=0.52))
        '0.910 [0.880, 0.940] (n=50, control 0.520)'
    """

    value: float
    low: float
    high: float
    _: KW_ONLY
    n: int
    seed: int
    control: float | None = None
    interval: str = PERCENTILE

    def __str__(self) -> str:
        control = "" if self.control is None else f", control {self.control:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.n}{control})"

    def _repr_html_(self) -> str:
        control = None if self.control is None else numeral(self.control)
        drawn = interval(self.value, self.low, self.high, control=self.control)
        about = facts(
            [
                ("", drawn),
                ("n", f"{self.n:,}"),
                ("control", control),
                ("interval", self.interval),
                ("seed", self.seed),
            ]
        )
        return block(estimate(self.value, self.low, self.high), about)

    def to_dict(self) -> dict[str, float | int | str | None]:
        """The score as json-ready values; NaN and infinities become None."""
        return {item.name: plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def undefined(
        cls, seed: int, n: int = 0, control: float | None = None, interval: str = PERCENTILE
    ) -> "Score":
        """The score of what could not be measured, with value and interval NaN.

        Example:
            >>> str(Score.undefined(seed=0))
            'nan [nan, nan] (n=0)'
        """
        return cls(math.nan, math.nan, math.nan, n=n, seed=seed, control=control, interval=interval)

    @classmethod
    def of_draws(
        cls,
        value: float,
        draws: ArrayLike,
        *,
        n: int,
        seed: int,
        control: float | None = None,
        interval: str = PERCENTILE,
    ) -> "Score":
        """A value with the 95 % percentile interval of its bootstrap draws (Efron 1979).

        The interval is NaN if there are no draws or one is NaN: leave such draws out only if the
        statistic defines what they mean.

        Example:
            >>> str(Score.of_draws(0.5, np.linspace(0, 1, 1001), n=20, seed=0))
            '0.500 [0.025, 0.975] (n=20)'
        """
        draws = np.asarray(draws)
        low, high = np.quantile(draws, [0.025, 0.975]) if draws.size else (math.nan, math.nan)
        ends = float(low), float(high)
        return cls(float(value), *ends, n=n, seed=seed, control=control, interval=interval)


DRAWS_AT_ONCE = 2**22
"""Resampled values in memory at once; no number depends on it."""


def bootstrap_indices(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """`[resamples, n]` indices drawn with replacement, some resamples at a time."""
    generator = np.random.default_rng(seed)
    size = max(1, DRAWS_AT_ONCE // n)
    for start in range(0, resamples, size):
        yield generator.integers(0, n, size=(min(size, resamples - start), n))


def bootstrap_mean(
    values: Float[np.ndarray, " case"],
    *,
    seed: int,
    resamples: int = 2000,
    control: float | None = None,
) -> Score:
    """The mean of `values` with its 95 % percentile bootstrap interval (Efron 1979).

    Raises:
        InputError: there are no values.
    """
    return bootstrap_statistic(
        values, lambda sample: sample.mean(axis=-1), seed=seed, resamples=resamples, control=control
    )


def bootstrap_statistic(
    values: Float[np.ndarray, " case"],
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int,
    resamples: int = 2000,
    control: float | None = None,
) -> Score:
    """Any statistic over the last axis with its 95 % percentile bootstrap interval.

    Raises:
        InputError: there are no values.
    """
    values = np.asarray(values, dtype=float)
    return bootstrap_cases(
        len(values),
        lambda cases: statistic(values[cases]),
        seed=seed,
        resamples=resamples,
        control=control,
    )


def bootstrap_cases(
    n: int,
    statistic: Callable[[Int[np.ndarray, "*draw case"]], np.ndarray],
    *,
    seed: int,
    resamples: int = 2000,
    control: float | None = None,
) -> Score:
    """Any statistic of the numbers of cases (0 … n − 1, along the last axis) with its 95 %
    percentile bootstrap interval; for cases of several values, as a ratio of sums has.

    Raises:
        InputError: there are no cases.

    Example:
        >>> bootstrap_cases(9, lambda cases: lost[cases].sum(-1) / whole[cases].sum(-1), seed=0)
    """
    if n == 0:
        raise InputError("a score needs at least one value, got none")
    draws = np.concatenate([statistic(cases) for cases in bootstrap_indices(n, resamples, seed)])
    return Score.of_draws(float(statistic(np.arange(n))), draws, n=n, seed=seed, control=control)
