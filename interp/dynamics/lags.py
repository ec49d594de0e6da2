"""Elicitation lag: how much later prompting works than an intervention."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interp.core import InputError, Score, bootstrap_mean
from interp.dynamics.learning_times import LearningTime


@dataclass(frozen=True, kw_only=True)
class Lag:
    """The onset when prompted minus the onset under an intervention, over runs.

    Ends of the median's interval are infinite beyond the last checkpoint: above if prompting had
    not worked by then, below if the intervention had not. `earlier` is the share of runs in which
    the intervention came first, ties counting half; its control is 0.5. In `open` runs only the
    intervention worked, in `failed` ones only prompting; `unknown` ones reached neither and count
    in `n` only.
    """

    median: float
    low: float
    high: float
    earlier: Score
    open: int
    failed: int
    unknown: int
    n: int

    def __str__(self) -> str:
        value, low, high = (
            f"{end:g}" if math.isfinite(end) else "beyond" if end > 0 else "below"
            for end in (self.median, self.low, self.high)
        )
        counts = (
            f"{self.open} open, {self.failed} not elicited, {self.unknown} of {self.n} "
            "reached neither"
        )
        return f"lag {value} [{low}, {high}], earlier in {self.earlier}; {counts}"


def elicitation_lag(
    naive: Sequence[LearningTime],
    elicited: Sequence[LearningTime],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> Lag:
    """The median lag, with an interval by bootstrapping runs.

    The lag is +∞ where only the intervention worked, −∞ where only prompting did; runs that reached
    neither are left out.

    Raises:
        InputError: the numbers of onsets differ, or no run reached either.

    Example:
        >>> elicitation_lag([run.naive for run in runs], [run.shifted for run in runs]).median
    """
    if len(naive) != len(elicited):
        raise InputError(
            f"{len(naive)} naive and {len(elicited)} elicited onsets; give one of each per run"
        )
    pairs = [
        (prompted.ordered, made.ordered)
        for prompted, made in zip(naive, elicited, strict=True)
        if prompted.reached or made.reached
    ]
    if not pairs:
        raise InputError(f"none of {len(naive)} runs reached it, prompted or made to; train longer")
    lags = np.array([prompted - made for prompted, made in pairs])
    draws = np.random.default_rng(seed).integers(0, len(lags), (resamples, len(lags)))
    middle = (len(lags) - 1) // 2
    medians = np.sort(np.sort(lags[draws], axis=1)[:, middle])
    earlier = bootstrap_mean((lags > 0) + 0.5 * (lags == 0), seed=seed, control=0.5)
    return Lag(
        median=float(np.sort(lags)[middle]),
        low=float(medians[int(0.025 * resamples)]),
        high=float(medians[int(0.975 * resamples)]),
        earlier=earlier,
        open=int(np.isposinf(lags).sum()),
        failed=int(np.isneginf(lags).sum()),
        unknown=len(naive) - len(pairs),
        n=len(naive),
    )
