"""Groups of runs and of interventions."""

from collections.abc import Sequence

from interp.studies.learning.result import is_random
from interp.testbeds.concepts.elicitation import CONTROL_OF
from interp.testbeds.concepts.run import ConceptRun

FIXED = 2.0
"""The factor measured beside a grid's best."""


def by_signal(runs: Sequence[ConceptRun]) -> dict[float, list[ConceptRun]]:
    """Runs of each signal strength, the weakest first."""
    return {
        signal: [run for run in runs if run.signal == signal]
        for signal in sorted({run.signal for run in runs})
    }


def main_runs(runs: Sequence[ConceptRun]) -> list[ConceptRun]:
    """The experiment's own runs, else those of the first variant."""
    variants = [run.variant for run in runs]
    chosen = "" if "" in variants else next(iter(variants), "")
    return [run for run in runs if run.variant == chosen]


def arms_of(runs: Sequence[ConceptRun]) -> list[str]:
    """The interventions that every run has, the random ones last."""
    first = runs[0].arms if runs else ()
    shared = [arm for arm in first if arm != "naive" and all(arm in run.arms for run in runs)]
    return sorted(shared, key=is_random)


def control_arm(arm: str, arms: Sequence[str]) -> str | None:
    """The random control of an intervention: its own, else the first."""
    own = CONTROL_OF.get(arm)
    return own if own in arms else next((other for other in arms if is_random(other)), None)


def fixed_factor(runs: Sequence[ConceptRun], arm: str) -> float | None:
    """The factor an experimenter would set blindly: 2 if all runs share it, else the middle one of
    those they share.
    """
    shared = [each for each in runs[0].arms[arm] if all(each in run.arms[arm] for run in runs)]
    if len(shared) < 2:
        return None
    return FIXED if FIXED in shared else shared[(len(shared) - 1) // 2]
