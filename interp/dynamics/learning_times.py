"""When is something learned? The first checkpoint from which a value stays high, over runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from interp.core import InputError, Score

Steps = Sequence[int] | Sequence[float] | np.ndarray


@dataclass(frozen=True, kw_only=True)
class LearningRule:
    """Learned at the first of `hold` consecutive checkpoints with values of at least `threshold`.

    `smoothing` is the standard deviation, in checkpoints, of a Gaussian filter applied first (0:
    none). `interpolate` gives the step where the line from the checkpoint before crosses the
    threshold, for sparse checkpoints; published numbers do not. With `for_good`, what is lost again
    was not learned (`lasting`): an untrained network's grey may pass for a colour for a while.
    Report the rule with every number: others use 0.9, or smooth by 1.5 checkpoints.

    Example:
        >>> LearningRule(threshold=0.8, hold=3)
    """

    threshold: float = 0.8
    hold: int = 3
    smoothing: float = 0.0
    interpolate: bool = False
    for_good: bool = False

    def __post_init__(self) -> None:
        if self.hold < 1 or self.smoothing < 0:
            raise InputError(
                f"hold is {self.hold}, smoothing {self.smoothing}; give at least 1 checkpoint, and "
                "0 or more"
            )

    def __str__(self) -> str:
        smooth = f", smoothed by {self.smoothing:g}" if self.smoothing else ""
        return (
            f"at least {self.threshold:g} at {self.hold} checkpoints in a "
            f"row{smooth}{', and for good' if self.for_good else ''}"
        )


@dataclass(frozen=True)
class LearningTime:
    """The step at which something was learned; None: not by `last`, the last checkpoint."""

    step: float | None
    last: float

    @property
    def reached(self) -> bool:
        """Whether it was learned."""
        return self.step is not None

    @property
    def ordered(self) -> float:
        """For ranks and medians: infinite if not reached."""
        return float("inf") if self.step is None else self.step

    def __str__(self) -> str:
        return f"> {self.last:g}" if self.step is None else f"{self.step:g}"


@dataclass(frozen=True, kw_only=True)
class TypicalTime:
    """The median learning time over runs with its bootstrap interval; None: not by `last`.

    `reached` of `n` runs learned it.
    """

    value: float | None
    low: float | None
    high: float | None
    reached: int
    n: int
    last: float
    seed: int

    def __str__(self) -> str:
        value, low, high = (
            f"> {self.last:g}" if end is None else f"{end:g}"
            for end in (self.value, self.low, self.high)
        )
        return f"{value} [{low}, {high}] ({self.reached} of {self.n} runs)"


RULE = LearningRule()


def learning_time(
    steps: Steps, values: Float[np.ndarray, " checkpoint"], rule: LearningRule = RULE
) -> LearningTime:
    """When a value was learned, by a rule.

    Raises:
        InputError: not one finite value per step, or steps that do not rise.

    Example:
        >>> learning_time([0, 10, 20, 30], np.array([0.1, 0.9, 0.9, 1.0])).step
        10.0
    """
    at = rising(steps)
    values = np.asarray(values, dtype=float)
    if values.shape != at.shape or not np.isfinite(values).all():
        raise InputError(
            f"{values.shape} values for {len(at)} checkpoints, or some are not finite; give one "
            "number per checkpoint"
        )
    smooth = smoothed(values, rule.smoothing)
    if rule.for_good:
        smooth = lasting(smooth)
    above = smooth >= rule.threshold
    holds = [bool(above[i : i + rule.hold].all()) for i in range(len(above) - rule.hold + 1)]
    last = float(at[-1])
    if True not in holds:
        return LearningTime(None, last)
    place = holds.index(True)
    if not rule.interpolate or place == 0:
        return LearningTime(float(at[place]), last)
    share = (rule.threshold - smooth[place - 1]) / (smooth[place] - smooth[place - 1])
    return LearningTime(float(at[place - 1] + share * (at[place] - at[place - 1])), last)


def typical_time(
    times: Sequence[LearningTime], *, seed: int = 0, resamples: int = 2000
) -> TypicalTime:
    """The median over runs, with a 95 % percentile bootstrap interval over runs.

    The median is Kaplan and Meier's (1958), with runs that did not learn censored at their last
    checkpoint; it supposes that how long a run lasts does not depend on its outcome. For runs of
    equal length it is the plain (lower) median, "not reached" being later than everything.

    Raises:
        InputError: no runs.
    """
    if not times:
        raise InputError("there are no runs; give at least one learning time")
    events = np.array([time.last if time.step is None else time.step for time in times])
    learned = np.array([time.reached for time in times])
    draws = np.random.default_rng(seed).integers(0, len(times), (resamples, len(times)))
    medians = np.sort([_survived_half(events[rows], learned[rows]) for rows in draws])
    return TypicalTime(
        value=_finite(_survived_half(events, learned)),
        low=_finite(medians[int(0.025 * resamples)]),
        high=_finite(medians[int(0.975 * resamples)]),
        reached=int(learned.sum()),
        n=len(times),
        last=float(max(time.last for time in times)),
        seed=seed,
    )


def lasting(values: Float[np.ndarray, " checkpoint"]) -> Float[np.ndarray, " checkpoint"]:
    """The minimum from each checkpoint on, forgiving a dip at a single one (median of three).

    Example:
        >>> lasting(np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0])).tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """
    if len(values) == 0:
        return values
    median = np.median(
        np.lib.stride_tricks.sliding_window_view(np.pad(values, 1, mode="edge"), 3), axis=1
    )
    return np.asarray(np.minimum.accumulate(median[::-1])[::-1])


def _finite(time: float) -> float | None:
    return None if np.isinf(time) else float(time)


def _survived_half(events: Float[np.ndarray, " run"], learned: Bool[np.ndarray, " run"]) -> float:
    """When half of the runs have learned, by the product-limit estimate; infinite if never."""
    left = 1.0
    for time in np.unique(events[learned]):
        left *= 1 - float((learned & (events == time)).sum() / (events >= time).sum())
        if left <= 0.5 + 1e-12:
            return float(time)
    return float("inf")


def signal_correlation(
    times: dict[float, Sequence[LearningTime]], *, seed: int = 0, resamples: int = 1000
) -> Score:
    """Spearman's correlation of learning speed (1/time) with a concept's signal, over runs.

    Runs that did not learn share the slowest rank. The interval is bootstrapped over the runs of
    each signal; the control is the mean with signals permuted across runs.

    Raises:
        InputError: fewer than two signals, or a signal without runs.

    Example:
        >>> signal_correlation({0.1: slow_runs, 0.8: fast_runs}).value
    """
    if len(times) < 2 or any(not runs for runs in times.values()):
        raise InputError(f"signals {sorted(times)}; give at least two, each with runs")
    from scipy.stats import spearmanr

    signals = np.concatenate([[signal] * len(runs) for signal, runs in times.items()])
    speeds = np.concatenate([[-time.ordered for time in runs] for runs in times.values()])
    generator = np.random.default_rng(seed)

    def correlation(values: np.ndarray) -> float:
        if len(set(values.tolist())) < 2:
            return 0.0
        return float(spearmanr(signals, values).statistic)

    ends = np.cumsum([0, *(len(runs) for runs in times.values())])
    parts = [speeds[low:high] for low, high in pairwise(ends)]
    draws = [
        correlation(np.concatenate([generator.choice(part, len(part)) for part in parts]))
        for _ in range(resamples)
    ]
    control = float(np.mean([correlation(generator.permutation(speeds)) for _ in range(resamples)]))
    return Score.of_draws(correlation(speeds), draws, n=len(speeds), seed=seed, control=control)


def require_unit(what: str, values: Float[np.ndarray, "*shape"]) -> None:
    """Require finite values from 0 to 1.

    Raises:
        InputError: some are not.
    """
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise InputError(
            f"{what} has values from {values.min():.3g} to {values.max():.3g}; give finite ones "
            "from 0 to 1"
        )


def rising(steps: Steps) -> Float[np.ndarray, " checkpoint"]:
    """Steps as floats.

    Raises:
        InputError: no steps, or they do not rise.
    """
    at = np.asarray(steps, dtype=float)
    if at.ndim != 1 or len(at) == 0 or bool((np.diff(at) <= 0).any()):
        falling = at[1:][np.diff(at) <= 0] if at.ndim == 1 else np.empty(0)
        wrong = f"; step {falling[0]:g} comes after a later one" if len(falling) else ""
        raise InputError(
            f"{len(at)} checkpoints are not in rising order{wrong}; sort them by step, without "
            "repeats"
        )
    return at


def smoothed(values: Float[np.ndarray, "*shape"], sd: float) -> Float[np.ndarray, "*shape"]:
    """Values smoothed over checkpoints (the first axis) by a Gaussian whose standard deviation is
    `sd` checkpoints (0: none).
    """
    if sd == 0:
        return values
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(values, sd, axis=0, truncate=6.0))
