"""What the page of learning dynamics shows: image runs as their files hold them, a language run,
and the onsets of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, UInt8

from interp.core import InputError
from interp.dynamics import learning_times as learning
from interp.dynamics.feature_births import FeatureHistory
from interp.dynamics.language.features import ConceptFeature
from interp.dynamics.language.steering import Arm
from interp.dynamics.language.tracking import LanguageTrack
from interp.dynamics.learning_times import (
    LearningRule,
    LearningTime,
    TypicalTime,
    learning_time,
    typical_time,
)
from interp.dynamics.turns import RULE, Turn, find_turn

NAIVE = ("colour", "size", "joint", "seen")
PLANE = ("colour", "size")
"""The axes of concept space for images: whether the held-out class is read as having its colour,
and its size.
"""

SIZE_SIGNAL = 0.4
"""The signal of size in the experiment, while that of colour varies."""


STEERED: tuple[Arm, ...] = ("own", "transported", "final", "random")
"""The ways in which a language model's concepts are steered."""

FIXED = "2"
"""The value of a grid that is shown beside its best."""

TITLES = {
    "over_prompt": "over-prompting",
    "linear": "linear shift of colour",
    "linear_size": "linear shift of size",
    "mid": "steering at mid (h-space)",
    "random": "random directions",
    "random_mid": "random directions at mid",
    "own": "its own direction",
    "transported": "final direction, transported",
    "final": "final direction as it is",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageRun:
    """One training run of the shapes experiment: what it makes of the held-out class when asked,
    and under interventions.

    `naive[name] [checkpoint]` are accuracies from 0 to 1: of the held-out class's colour, size and
    both (`joint`), and of the seen classes (`seen`). `arms[arm][grid value] [arm checkpoint]` is
    the joint accuracy under an intervention at each value tried, measured at `arm_steps`.
    `soft[axis] [checkpoint]` are coordinates that are no hard decisions, if there are any; `sheets`
    are pictures of generated samples by step. `variant` says in which of its settings a run differs
    from the experiment's own; `size` is its other signal, and `checkpoints` the folder of those it
    kept.

    Raises:
        InputError: steps that do not rise, a curve that is missing, of another length, or not
            within 0 to 1.

    Example:
        >>> ImageRun(
        ...     0.2,
        ...     0,
        ...     steps,
        ...     {"colour": c, "size": s, "joint": j, "seen": k},
        ...     {"linear": {"1": shifted}},
        ...     arm_steps,
        ... )
    """

    signal: float
    seed: int
    steps: tuple[int, ...]
    naive: Mapping[str, Float[np.ndarray, " checkpoint"]]
    arms: Mapping[str, Mapping[str, Float[np.ndarray, " arm_checkpoint"]]]
    arm_steps: tuple[int, ...]
    soft: Mapping[str, Float[np.ndarray, " checkpoint"]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    sheets: Mapping[int, UInt8[np.ndarray, "down across 3"]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    variant: str = ""
    size: float = SIZE_SIGNAL
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        learning.rising(self.steps)
        missing = [name for name in NAIVE if name not in self.naive]
        if missing:
            raise InputError(f"run {self} has no curve {missing[0]!r}; give {', '.join(NAIVE)}")
        for name, curve in [*self.naive.items(), *self.soft.items()]:
            _require_curve(f"{name!r} of run {self}", curve, len(self.steps))
        if self.arms:
            learning.rising(self.arm_steps)
        for arm, grid in self.arms.items():
            if not grid:
                raise InputError(f"arm {arm!r} of run {self} was tried at no value; leave it out")
            for value, curve in grid.items():
                _require_curve(f"{arm!r} at {value} of run {self}", curve, len(self.arm_steps))

    def __str__(self) -> str:
        return f"Δ {self.signal:g}, seed {self.seed}" + (
            f", {self.variant}" if self.variant else ""
        )

    @cached_property
    def way(self) -> Float[np.ndarray, "checkpoint 2"]:
        """The trajectory in the plane of colour and size: soft coordinates where there are some,
        else accuracies.
        """
        source = self.soft if all(axis in self.soft for axis in PLANE) else self.naive
        return np.stack([source[axis] for axis in PLANE], axis=1)

    @cached_property
    def turn(self) -> Turn | None:
        """The largest turn of the trajectory; None where there are too few checkpoints to tell."""
        return find_turn(self.steps, self.way) if len(self.steps) > 2 * RULE.window else None

    def learned(self, name: str, rule: LearningRule) -> LearningTime:
        """When one of the naive curves was learned."""
        return learning_time(self.steps, self.naive[name], rule)

    def asked(self, rule: LearningRule) -> LearningTime:
        """When the held-out class comes as asked, looked at only where the interventions were: what
        a lag is measured from.
        """
        return learning_time(
            self.arm_steps, np.interp(self.arm_steps, self.steps, self.naive["joint"]), rule
        )

    def arm(self, arm: str, value: str | None = None) -> Float[np.ndarray, " arm_checkpoint"]:
        """An arm's curve at one value, or at each checkpoint's best."""
        grid = self.arms[arm]
        return np.max(list(grid.values()), axis=0) if value is None else grid[value]

    def elicited(self, arm: str, rule: LearningRule, value: str | None = None) -> LearningTime:
        """When an arm first brings the held-out class about."""
        return learning_time(self.arm_steps, self.arm(arm, value), rule)


@dataclass(frozen=True, eq=False)
class LanguageRun:
    """A language model's run: its concepts' track and, where they were followed, its features and
    those that detect a concept.

    Example:
        >>> LanguageRun(track_language(...), *track_features(...), name="tiny GPT-2")
    """

    track: LanguageTrack
    history: FeatureHistory | None = None
    features: tuple[ConceptFeature, ...] = ()
    name: str = "a language model"


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane:
    """Ways of one group of runs through a plane of concept space.

    `ways[run] [checkpoint, 2]` at `steps[run]`; `turns[run]` is a turn that was found, or None.
    `corners` names the plane's corners, from (0, 0) over (1, 0) and (0, 1) to (1, 1).
    """

    axes: tuple[str, str]
    steps: Sequence[Sequence[int]]
    ways: Sequence[Float[np.ndarray, "_ 2"]]
    turns: Sequence[Turn | None]
    names: Sequence[str]
    corners: tuple[str, str, str, str] | None = None

    @property
    def grid(self) -> list[int]:
        """Every step at which some run was looked at."""
        return sorted({step for steps in self.steps for step in steps})

    @property
    def mean(self) -> Float[np.ndarray, "checkpoint 2"]:
        """The mean way on `grid`; a run that stopped early stays where it was."""
        return np.stack(
            [
                mean_curve(self.grid, self.steps, [way[:, axis] for way in self.ways])
                for axis in (0, 1)
            ],
            axis=1,
        )


def by_signal(runs: Sequence[ImageRun]) -> dict[float, list[ImageRun]]:
    """Runs of each signal strength, the weakest first."""
    return {
        signal: [run for run in runs if run.signal == signal]
        for signal in sorted({run.signal for run in runs})
    }


def main_runs(runs: Sequence[ImageRun]) -> list[ImageRun]:
    """The experiment's own runs; where there are none, those of the first variant."""
    variant = (
        "" if any(not run.variant for run in runs) else next((run.variant for run in runs), "")
    )
    return [run for run in runs if run.variant == variant]


def arms_of(runs: Sequence[ImageRun]) -> list[str]:
    """The interventions that every run has, the random ones last."""
    shared = [
        arm
        for arm in (runs[0].arms if runs else ())
        if all(arm in run.arms for run in runs) and arm != "naive"
    ]
    return sorted(shared, key=is_random)


def is_random(arm: str) -> bool:
    """Whether an arm is a control."""
    return "random" in arm.lower()


def arm_title(arm: str) -> str:
    """An intervention's name as figures and tables say it."""
    return TITLES.get(arm, arm.replace("_", " "))


def main_arm(arms: Sequence[str]) -> str | None:
    """The intervention that verdicts speak of: the linear shift where there is one."""
    real = [arm for arm in arms if not is_random(arm)]
    return "linear" if "linear" in real else next(iter(real), None)


def fixed_value(runs: Sequence[ImageRun], arm: str) -> str | None:
    """One value of an arm's grid that all runs share, 2 or the middle one: what an experimenter
    would set without looking.
    """
    shared = [value for value in runs[0].arms[arm] if all(value in run.arms[arm] for run in runs)]
    if len(shared) < 2:
        return None
    return FIXED if FIXED in shared else shared[(len(shared) - 1) // 2]


def mean_curve(
    grid: Sequence[int], steps: Sequence[Sequence[int]], curves: Sequence[np.ndarray]
) -> Float[np.ndarray, " checkpoint"]:
    """The mean of curves on a grid of steps; a run that stopped early keeps its last value."""
    return np.mean(
        [np.interp(grid, at, curve) for at, curve in zip(steps, curves, strict=True)], axis=0
    )


def typical(times: Sequence[LearningTime]) -> TypicalTime | None:
    """The median time over runs; None where there are none."""
    return typical_time(times) if times else None


def prompt_onset(
    steps: Sequence[int],
    values: Float[np.ndarray, "checkpoint question"],
    rule: LearningRule,
    *,
    seed: int = 0,
    resamples: int = 200,
) -> tuple[LearningTime, LearningTime, LearningTime]:
    """When the mean over questions is learned, with the ends of a 95 % bootstrap interval over
    questions.
    """
    at = np.asarray(steps)
    draws = np.random.default_rng(seed).integers(0, values.shape[1], (resamples, values.shape[1]))
    times = sorted(
        (learning_time(at, values[:, draw].mean(axis=1), rule) for draw in draws),
        key=lambda time: time.ordered,
    )
    return (
        learning_time(at, values.mean(axis=1), rule),
        times[int(0.025 * resamples)],
        times[int(0.975 * resamples)],
    )


def _require_curve(what: str, curve: np.ndarray, count: int) -> None:
    if curve.shape != (count,):
        raise InputError(
            f"{what} has {curve.shape} values for {count} checkpoints; give one per checkpoint"
        )
    if not np.isfinite(curve).all() or curve.min() < 0 or curve.max() > 1:
        raise InputError(
            f"{what} has values from {curve.min():.3g} to {curve.max():.3g}; give finite ones "
            "from "
            "0 to 1"
        )
