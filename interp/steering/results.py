"""The results of `evaluate_steering`."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.core import Score
from interp.core.display.markup import Html, block, element, facts, foreign, table
from interp.core.display.scores import axis_note, score_cells
from interp.steering.generation import Continuation
from interp.steering.targets import Protocol, Route, Target


@dataclass(frozen=True, kw_only=True)
class Dose:
    """One strength and sign of one target: the divergence aimed at and measured, the scores on the
    report prompts, and the texts.

    `values [text]` are the scores of the report continuations, NaN where the judge failed; `score`
    is their mean, or None. Means leave failures out and are NaN if nothing is left. A dose that was
    not reached has no texts.
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


@dataclass(frozen=True, kw_only=True)
class TargetResult:
    """A target's doses, the number of the one chosen on the selection prompts, and its margin over
    the best control on the report prompts.
    """

    target: Target
    doses: tuple[Dose, ...]
    chosen: int | None
    control: Score
    margin: Score | None

    @property
    def report(self) -> Score | None:
        """The score on the report prompts at the chosen strength; None if none was reached."""
        return None if self.chosen is None else self.doses[self.chosen].score

    @property
    def beats_control(self) -> bool:
        """Whether the whole interval of the margin over the best control is above zero."""
        return self.margin is not None and self.margin.low > 0

    @property
    def unreachable(self) -> tuple[float, ...]:
        """The strengths that no multiple of the direction reached."""
        return tuple(dose.kl for dose in self.doses if not dose.reached)


@dataclass(frozen=True, kw_only=True)
class FamilyResult:
    """A family's means over concepts, by strength and at the chosen strengths, with bootstrap
    intervals over concepts.
    """

    family: str
    method: str
    route: Route
    site: str
    curve: tuple[tuple[float, Score], ...]
    report: Score | None
    minus_best_control: Score | None
    unreachable: int
    is_control: bool


@dataclass(frozen=True, repr=False, kw_only=True)
class SteeringResult:
    """Everything `evaluate_steering` measured; controls are targets and families like the others.

    `judged` counts judgements (a text once per concept scored), `failed` those that failed.
    """

    protocol: Protocol
    targets: tuple[TargetResult, ...]
    controls: tuple[TargetResult, ...]
    families: tuple[FamilyResult, ...]
    unsteered: tuple[Continuation, ...]
    unsteered_scores: dict[str, Score]
    judged: int
    failed: int

    def __repr__(self) -> str:
        lines = [f"{family.family}: {family.report or 'not reached'}" for family in self.families]
        return "\n".join([*lines, f"{self.failed:,} of {self.judged:,} judgements failed"])

    def _repr_html_(self) -> str:
        beating = sum(target.beats_control for target in self.targets)
        verdict = (
            f"{beating} of {len(self.targets)} targets steer beyond the best control (the "
            "margin's whole interval is above 0)."
        )
        return block(
            "Steering", element("p", element("b", verdict)), self._families(), self._conditions()
        )

    def _families(self) -> Html:
        reports = [family.report for family in self.families]
        margins = [family.minus_best_control for family in self.families]
        columns = (score_cells(reports), score_cells(margins, signed=True))
        rows = [
            (
                foreign(family.family),
                foreign(family.site),
                report,
                margin,
                family.report.n if family.report else 0,
                family.unreachable,
            )
            for family, report, margin in zip(self.families, *columns, strict=True)
        ]
        header = ("family", "site", "score, 0 to 2", "minus best control", "n", "not reached")
        title = (
            "At the strength chosen on other prompts, mean over concepts "
            f"({axis_note(reports)}; {axis_note(margins)}); faint: controls"
        )
        muted = {number for number, family in enumerate(self.families) if family.is_control}
        return table(header, rows, caption=title, muted=muted)

    def _conditions(self) -> Html:
        share = f"{self.failed:,} of {self.judged:,}"
        if self.judged:
            share += f" ({self.failed / self.judged:.1%})"
        protocol = self.protocol
        prompts = (
            f"{len(protocol.selection_prompts)} to select, {len(protocol.report_prompts)} to report"
        )
        return facts(
            [
                ("judgements failed, left out of every mean:", share),
                ("strengths (KL, nats)", ", ".join(f"{kl:g}" for kl in protocol.strengths)),
                ("prompts", prompts),
                ("random directions per site", protocol.n_random),
            ]
        )
