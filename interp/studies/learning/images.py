"""Image runs: learning times, turns, and lags of prompting behind interventions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interp.core import Score, bootstrap_mean
from interp.dynamics.lags import Lag, elicitation_lag
from interp.dynamics.learning_times import (
    LearningRule,
    LearningTime,
    signal_correlation,
    typical_time,
)
from interp.studies.learning.groups import (
    arms_of,
    by_signal,
    control_arm,
    fixed_factor,
    main_runs,
)
from interp.studies.learning.result import (
    ArmResult,
    Band,
    Plane,
    SignalResult,
    TurnShare,
    VariantResult,
    main_arm,
    on_grid,
)
from interp.testbeds.concepts.run import MEASURES, ConceptRun

CORNERS = ("red, large", "blue, large", "red, small", "blue, small")


def study_signal(runs: Sequence[ConceptRun], rule: LearningRule) -> SignalResult:
    """The runs of one signal.

    Cost: bootstraps of some seconds.

    Example:
        >>> study_signal(by_signal(runs)[0.2], LearningRule()).main.lag
    """
    learned = {name: tuple(run.learned(name, rule) for run in runs) for name in MEASURES}
    names = arms_of(runs)
    prompted = [run.prompted(rule) for run in runs]
    steps = [run.steps for run in runs]
    curves = {name: [run.naive[name] for run in runs] for name in ("joint", "seen")}
    return SignalResult(
        signal=runs[0].signal,
        runs=tuple(runs),
        learned=learned,
        typical={name: typical_time(times) for name, times in learned.items()},
        prompted=typical_time(prompted),
        turned=_turned(runs),
        arms=tuple(
            _arm(runs, name, rule, prompted, banded=name == main_arm(names)) for name in names
        ),
        over_random=_over_random(runs, names, rule),
        naive=band(*_gathered(steps, curves["joint"])),
        seen=band(*_gathered(steps, curves["seen"]), interval=False),
        plane=Plane(
            axes=("Colour: from red to blue", "Size: from large to small"),
            steps=steps,
            ways=[run.way for run in runs],
            turns=[run.turn for run in runs],
            names=[str(run) for run in runs],
            corners=CORNERS,
        ),
    )


def correlations(groups: Sequence[SignalResult]) -> dict[str, Score]:
    """How speed of learning goes with the signal; empty for fewer than two signals."""
    if len(groups) < 2:
        return {}
    return {
        name: signal_correlation({group.signal: group.learned[name] for group in groups})
        for name in ("colour", "size", "joint")
    }


def study_variants(runs: Sequence[ConceptRun], rule: LearningRule) -> tuple[VariantResult, ...]:
    """Runs with other settings, beside the experiment's own of the same signal."""
    own = main_runs(runs)
    found = []
    for signal, group in by_signal([run for run in runs if run not in own]).items():
        plain = [run for run in own if run.signal == signal]
        found.append(_variant(signal, None, plain, rule))
        for name in sorted({run.variant for run in group}):
            some = [run for run in group if run.variant == name]
            found.append(_variant(signal, name, some, rule))
    return tuple(found)


def band(
    steps: Sequence[int], rows: Float[np.ndarray, "case step"], *, interval: bool = True
) -> Band:
    """The mean of cases over steps, with a bootstrap 95 % band for several."""
    if not interval or len(rows) < 2:
        return Band(tuple(steps), rows.mean(axis=0))
    scores = [bootstrap_mean(column, seed=0, resamples=500) for column in rows.T]
    low, high = np.array([(score.low, score.high) for score in scores]).T
    return Band(tuple(steps), rows.mean(axis=0), (low, high))


def _gathered(
    steps: Sequence[Sequence[int]], curves: Sequence[np.ndarray]
) -> tuple[list[int], Float[np.ndarray, "run step"]]:
    grid = sorted({step for at in steps for step in at})
    return grid, on_grid(grid, steps, curves)


def _arm(
    runs: Sequence[ConceptRun],
    name: str,
    rule: LearningRule,
    prompted: Sequence[LearningTime],
    *,
    banded: bool,
) -> ArmResult:
    best = [run.elicited(name, rule) for run in runs]
    factor = fixed_factor(runs, name)
    fixed = None if factor is None else [run.elicited(name, rule, factor) for run in runs]
    gathered = _gathered([run.arm_steps for run in runs], [run.arm(name) for run in runs])
    return ArmResult(
        arm=name,
        best=typical_time(best),
        factor=factor,
        fixed=None if fixed is None else typical_time(fixed),
        lag=_lag(prompted, best),
        curve=band(*gathered, interval=banded),
    )


def _lag(later: Sequence[LearningTime], sooner: Sequence[LearningTime]) -> Lag | None:
    reached = any(time.reached for time in (*later, *sooner))
    return elicitation_lag(later, sooner) if reached else None


def _over_random(
    runs: Sequence[ConceptRun], arms: Sequence[str], rule: LearningRule
) -> Score | None:
    main = main_arm(arms)
    control = None if main is None else control_arm(main, arms)
    if main is None or control is None:
        return None
    lag = _lag(*([run.elicited(arm, rule) for run in runs] for arm in (control, main)))
    return None if lag is None else lag.earlier


def _turned(runs: Sequence[ConceptRun]) -> TurnShare:
    turns = [run.turn for run in runs if run.turn is not None]
    found = [turn for turn in turns if turn.found]
    if not found:
        return TurnShare(found=0, n=len(turns))
    return TurnShare(
        found=len(found),
        n=len(turns),
        before=float(np.median([turn.before for turn in found])),
        after=float(np.median([turn.after for turn in found])),
        by_chance=float(np.mean([turn.by_chance for turn in found])),
    )


def _variant(
    signal: float, name: str | None, runs: Sequence[ConceptRun], rule: LearningRule
) -> VariantResult:
    times = {
        measure: typical_time([run.learned(measure, rule) for run in runs])
        for measure in (MEASURES if runs else ())
    }
    return VariantResult(signal, name, times)
