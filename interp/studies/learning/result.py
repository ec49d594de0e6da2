"""Results of learning dynamics: of image runs by signal, of a language model by concept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.core import Score
from interp.dynamics.feature_births import FeatureHistory
from interp.dynamics.lags import Lag
from interp.dynamics.language.features import ConceptFeature
from interp.dynamics.language.steering import Arm
from interp.dynamics.language.tracking import LanguageTrack
from interp.dynamics.learning_times import LearningRule, LearningTime, TypicalTime
from interp.dynamics.turns import Turn
from interp.testbeds.concepts.run import ConceptRun

STEERED: tuple[Arm, ...] = ("own", "transported", "final", "random")
"""The ways in which a language model's concepts are steered."""


class Onset(NamedTuple):
    """When something begins to work, with its 95 % interval over prompts."""

    at: LearningTime
    low: LearningTime
    high: LearningTime


@dataclass(frozen=True, eq=False)
class Band:
    """A mean over steps, with its 95 % interval over cases if measured."""

    steps: tuple[int, ...]
    mean: Float[np.ndarray, " step"]
    ends: tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane:
    """Trajectories of a group of runs through a plane of concept space.

    `ways[run] [checkpoint, 2]` at `steps[run]`; `turns[run]` is the turn found, or None. `corners`
    names (0, 0), (1, 0), (0, 1) and (1, 1).
    """

    axes: tuple[str, str]
    steps: Sequence[Sequence[int]]
    ways: Sequence[Float[np.ndarray, "_ 2"]]
    turns: Sequence[Turn | None]
    names: Sequence[str]
    corners: tuple[str, str, str, str] | None = None

    @property
    def grid(self) -> list[int]:
        """Every step at which some run was measured."""
        return sorted({step for steps in self.steps for step in steps})

    @cached_property
    def mean(self) -> Float[np.ndarray, "checkpoint 2"]:
        """The mean trajectory on `grid`; a run that stopped early keeps its last point."""
        sides = [[way[:, axis] for way in self.ways] for axis in (0, 1)]
        return np.stack([mean_curve(self.grid, self.steps, side) for side in sides], axis=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class ArmResult:
    """An intervention on the runs of one signal.

    It works from `best` on at each checkpoint's best factor, from `fixed` on at the one `factor`
    that all runs share (None: there is none). `lag` is how much later prompting works (None: no run
    reached either). `curve` is the joint accuracy over steps at the best factor.
    """

    arm: str
    best: TypicalTime
    factor: float | None
    fixed: TypicalTime | None
    lag: Lag | None
    curve: Band


@dataclass(frozen=True, eq=False, kw_only=True)
class TurnShare:
    """How many trajectories turn, of the `n` that are long enough to tell.

    `before` and `after` are their median headings in degrees, `by_chance` the mean share of
    straight trajectories with a turn as large; None where none turns.
    """

    found: int
    n: int
    before: float | None = None
    after: float | None = None
    by_chance: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class SignalResult:
    """The runs of one signal.

    `learned[measure]` are the runs' times, `typical[measure]` their median; from `prompted` on
    prompting gives the held-out class. `naive` is its accuracy over steps, `seen` that of the seen
    classes. `over_random` is how often the main intervention works before random shifts do (None
    without both, or where no run reached either).
    """

    signal: float
    runs: tuple[ConceptRun, ...]
    learned: Mapping[str, tuple[LearningTime, ...]]
    typical: Mapping[str, TypicalTime]
    prompted: TypicalTime
    turned: TurnShare
    arms: tuple[ArmResult, ...]
    over_random: Score | None
    naive: Band
    seen: Band
    plane: Plane

    @property
    def last(self) -> int:
        """The last step of any run."""
        return max(run.steps[-1] for run in self.runs)

    @property
    def main(self) -> ArmResult | None:
        """The intervention that verdicts are about."""
        name = main_arm([arm.arm for arm in self.arms])
        return None if name is None else self.arm(name)

    def arm(self, name: str) -> ArmResult:
        """An intervention by its name."""
        return next(arm for arm in self.arms if arm.arm == name)


@dataclass(frozen=True, eq=False)
class VariantResult:
    """Runs of one signal with other settings, or (`variant` None) the experiment's own; `typical`
    is empty without any.
    """

    signal: float
    variant: str | None
    typical: Mapping[str, TypicalTime]


@dataclass(frozen=True, eq=False)
class LanguageRun:
    """A language model's run: its concepts' track and, if followed, its features and those that
    detect a concept.

    Example:
        >>> LanguageRun(track_language(...), *track_features(...), name="tiny GPT-2")
    """

    track: LanguageTrack
    history: FeatureHistory | None = None
    features: tuple[ConceptFeature, ...] = ()
    name: str = "a language model"


@dataclass(frozen=True, eq=False, kw_only=True)
class ConceptResult:
    """One concept of a language model.

    Prompting elicits it from `prompted` on, steering from `elicited[arm]` on (at the best factor);
    `likelier` are onsets of being likelier than the foil. `curves[arm]` are shares of the right
    continuation over steps; in both, `naive` is prompting. `shifts[arm]` are changes of its
    log-probability at the last checkpoint.
    """

    name: str
    prompted: Onset
    elicited: Mapping[Arm, Onset]
    likelier: Mapping[Arm, Onset]
    curves: Mapping[Arm, Band]
    shifts: Mapping[Arm, Score]

    def sooner(self, arm: Arm) -> bool:
        """Whether an arm elicits the concept clearly earlier: its onset's interval ends before that
        of prompting begins.
        """
        onset = self.elicited.get(arm)
        return onset is not None and onset.high.ordered < self.prompted.low.ordered


@dataclass(frozen=True, eq=False)
class LanguageResult:
    """A language model's run with its onsets; `planes` has a plane per pair of concepts."""

    run: LanguageRun
    concepts: tuple[ConceptResult, ...]
    planes: tuple[Plane, ...]

    def concept(self, name: str) -> ConceptResult:
        """One concept by its name."""
        return next(concept for concept in self.concepts if concept.name == name)


@dataclass(frozen=True, eq=False, kw_only=True)
class LearningResult:
    """When each concept was learned, how runs turned, and when it could first be elicited.

    `signals` are of the experiment's own runs, the weakest first; `arms` are interventions that all
    have. `correlations[measure]` say how much sooner a stronger signal is learned (for two or
    more).
    """

    rule: LearningRule
    signals: tuple[SignalResult, ...]
    arms: tuple[str, ...]
    correlations: Mapping[str, Score]
    variants: tuple[VariantResult, ...]
    language: LanguageResult | None

    @property
    def runs(self) -> list[ConceptRun]:
        """The experiment's own runs."""
        return [run for group in self.signals for run in group.runs]

    @property
    def last(self) -> int:
        """The last step of any run; 0 without runs."""
        return max((group.last for group in self.signals), default=0)


def is_random(arm: str) -> bool:
    """Whether an arm is a control."""
    return "random" in arm.lower()


def main_arm(arms: Sequence[str]) -> str | None:
    """The intervention that verdicts are about: the linear shift if there is one."""
    real = [arm for arm in arms if not is_random(arm)]
    return "linear" if "linear" in real else next(iter(real), None)


def mean_curve(
    grid: Sequence[int], steps: Sequence[Sequence[int]], curves: Sequence[np.ndarray]
) -> Float[np.ndarray, " checkpoint"]:
    """The mean of curves on a grid of steps; a run that stopped early keeps its last value."""
    return np.mean(on_grid(grid, steps, curves), axis=0)


def on_grid(
    grid: Sequence[int], steps: Sequence[Sequence[int]], curves: Sequence[np.ndarray]
) -> Float[np.ndarray, "run checkpoint"]:
    """Curves on one grid of steps; a run that stopped early keeps its last value."""
    return np.stack([np.interp(grid, at, curve) for at, curve in zip(steps, curves, strict=True)])
