"""Which runs and which interventions belong together."""

from collections.abc import Sequence

from interp.studies.learning.result import is_random
from interp.testbeds.concepts.elicitation import CONTROL_OF
from interp.testbeds.concepts.run import ConceptRun

FIXED = 2.0
"""The factor of a grid that is measured beside its best."""


def by_signal(runs: Sequence[ConceptRun]) -> dict[float, list[ConceptRun]]:
    """Runs of each signal strength, the weakest first."""
    return {
        signal: [run for run in runs if run.signal == signal]
        for signal in sorted({run.signal for run in runs})
    }


def main_runs(runs: Sequence[ConceptRun]) -> list[ConceptRun]:
    """The experiment's own runs; where there are none, those of the first variant."""
    variants = [run.variant for run in runs]
    chosen = "" if "" in variants else next(iter(variants), "")
    return [run for run in runs if run.variant == chosen]


def arms_of(runs: Sequence[ConceptRun]) -> list[str]:
    """The interventions that every run has, the random ones last."""
    shared = [
        arm
        for arm in (runs[0].arms if runs else ())
        if all(arm in run.arms for run in runs) and arm != "naive"
    ]
    return sorted(shared, key=is_random)


def control_arm(arm: str, arms: Sequence[str]) -> str | None:
    """The random arm beside which an intervention is to be read: its own, or the first."""
    own = CONTROL_OF.get(arm)
    return own if own in arms else next((other for other in arms if is_random(other)), None)


def fixed_factor(runs: Sequence[ConceptRun], arm: str) -> float | None:
    """One factor of an arm's grid that all runs share, 2 or the middle one: what an experimenter
    would set without looking.
    """
    shared = [
        factor for factor in runs[0].arms[arm] if all(factor in run.arms[arm] for run in runs)
    ]
    if len(shared) < 2:
        return None
    return FIXED if FIXED in shared else shared[(len(shared) - 1) // 2]
