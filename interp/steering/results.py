"""What `evaluate_steering` measured."""

import html
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.core import Score
from interp.steering.generation import Continuation
from interp.steering.targets import Protocol, Route, Target


@dataclass(frozen=True)
class Dose:
    """One strength and sign of one target: what was asked and measured, the scores on the report prompts, and the texts.

    `values [text]` are the scores of the report continuations, NaN where the judge failed; `score` is their mean, None where there is
    none. Means leave failures out and are NaN where nothing is left. A dose that was not reached has no texts.
    """

    kl: float
    sign: int
    measured_kl: float
    alpha: float
    reached: bool
    selection_score: float
    score: Score | None
    concept_score: float
    fluency_score: float
    continuations: tuple[Continuation, ...]
    values: Float[np.ndarray, " text"]


@dataclass(frozen=True)
class TargetResult:
    """A target's doses, the one chosen on the selection prompts, its score on the report prompts and the margin over the best control."""

    target: Target
    doses: tuple[Dose, ...]
    chosen: int | None
    control: Score
    margin: Score | None

    @property
    def report(self) -> Score | None:
        """The score on the report prompts at the chosen strength; None when no strength was reachable."""
        return None if self.chosen is None else self.doses[self.chosen].score

    @property
    def beats_control(self) -> bool:
        """Whether the margin over the best control is above zero by more than its interval."""
        return self.margin is not None and self.margin.low > 0

    @property
    def unreachable(self) -> tuple[float, ...]:
        """The strengths that no multiple of the direction reached."""
        return tuple(dose.kl for dose in self.doses if not dose.reached)


@dataclass(frozen=True)
class FamilyResult:
    """A family's mean over its concepts, by strength and at the chosen strengths, with bootstrap intervals over concepts."""

    family: str
    method: str
    route: Route
    site: str
    curve: tuple[tuple[float, Score], ...]
    report: Score | None
    minus_best_control: Score | None
    unreachable: int
    is_control: bool


@dataclass(frozen=True)
class SteeringResult:
    """Everything `evaluate_steering` measured; controls are targets and families like all others.

    `judged` counts judgements (a text once for every concept it was scored for), `failed` those of them that the judge failed on.
    """

    protocol: Protocol
    targets: tuple[TargetResult, ...]
    controls: tuple[TargetResult, ...]
    families: tuple[FamilyResult, ...]
    unsteered: tuple[Continuation, ...]
    unsteered_scores: dict[str, Score]
    judged: int
    failed: int

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(family.family)}</td>"
            f"<td>{family.report or 'not reached'}</td><td>{family.minus_best_control or ''}</td></tr>"
            for family in self.families
        )
        return (
            f"<table><tr><th>family</th><th>score (0–2)</th><th>minus best control</th></tr>{rows}</table>"
            f"<p>{self.failed:,} of {self.judged:,} judgements failed</p>"
        )
