"""A comparison's result: rows of dictionaries, ways of steering, controls and differences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from interp.core import Score
from interp.core.display.markup import MISSING, block, element, facts, foreign, table
from interp.core.display.scores import axis_note, score_cells
from interp.studies.comparison.protocol import ResolvedComparison
from interp.studies.comparison.records import Way

COMPANION_OR_OWN = "companion minus own direction"
"""The question of differences between two routes of the same features."""


@dataclass(frozen=True, kw_only=True)
class JudgeRow:
    """The judge's name, mean AUROC over the accepted concepts, and AUROC of each refused one."""

    name: str
    auroc: Score
    accepted: tuple[str, ...]
    refused: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class DetectionRow:
    """A dictionary: its reconstruction, and how many concepts a feature detects with an AUROC of at
    least 0.9; `auroc` is the mean over concepts.
    """

    site: str
    method: str
    size: int
    seconds: float
    explained_variance: Score
    l0: float
    concepts: int
    detected: int
    auroc: Score


@dataclass(frozen=True)
class CurvePoint:
    """The mean score over concepts at a strength (nats); None where no concept reached it."""

    kl: float
    score: Score | None


@dataclass(frozen=True, kw_only=True)
class SteeringRow(Way):
    """A way of steering: means over `n` concepts, None where there is nothing to average.

    `report` is the score (0 to 2) at strengths chosen on other prompts, `margin` that minus the
    best control's; `benign_kl` and `perplexity_ratio` are side effects on ordinary text, `lift` is
    in nats a token.
    """

    n: int
    report: Score | None
    margin: Score | None
    beat_control: int
    unreachable: int
    curve: tuple[CurvePoint, ...]
    benign_kl: Score | None
    perplexity_ratio: Score | None
    lift: Score | None
    lift_percentile: Score | None


@dataclass(frozen=True, kw_only=True)
class ControlRow:
    """Random directions, or no steering, at one place."""

    place: str
    family: str
    report: Score | None
    unreachable: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The paired difference of two ways of steering at a strength (nats), first minus second."""

    question: str
    first: Way
    second: Way
    kl: float
    difference: Score


@dataclass(frozen=True, repr=False, kw_only=True)
class ComparisonResult:
    """What `compare` found; its fields are the keys of `comparison.json`. `judged` counts
    judgements, `failed` those that failed.

    Example:
        >>> result = interp.compare(interp.Comparison(sites=("L5.mlp",)), "comparison")
        >>> result.steering[0].report
    """

    schema: int = 1
    settings: ResolvedComparison
    concepts: tuple[str, ...]
    judge: JudgeRow
    detection: tuple[DetectionRow, ...]
    steering: tuple[SteeringRow, ...]
    controls: tuple[ControlRow, ...]
    differences: tuple[Difference, ...]
    judged: int
    failed: int

    def __repr__(self) -> str:
        return (
            f"ComparisonResult({len(self.steering)} ways of steering {self.settings.model} with "
            f"{len(self.concepts)} concepts)"
        )

    def _repr_html_(self) -> str:
        ways = sorted(self.steering, key=_rank)
        rows: list[tuple[str, Score | None, Score | None]] = [
            (_named(row), row.report, row.margin) for row in ways
        ]
        rows += [(f"{row.family}, for {row.place}", row.report, None) for row in self.controls]
        scores = [score for _, score, _ in rows]
        margins = [margin for _, _, margin in rows]
        cells = zip(rows, score_cells(scores), score_cells(margins, signed=True), strict=True)
        lines = [
            (foreign(name), score, margin, MISSING if own is None else f"{own.n:,}")
            for (name, own, _), score, margin in cells
        ]
        caption = (
            "Steering score, 0 to 2, at strengths chosen on other prompts "
            f"({axis_note(scores)}); margin over the best control"
        )
        muted = set(range(len(ways), len(rows)))
        header = ("way", "score", "margin", "n")
        failed = element("p", f"{self.failed:,} of {self.judged:,} judgements failed", kind="muted")
        about = facts(
            [("concepts", foreign(", ".join(self.concepts))), ("seed", self.settings.seed)]
        )
        return block(
            "Comparison",
            about,
            table(header, lines, caption=caption, muted=muted, wrapped={0}),
            failed,
            name=self.settings.model,
        )


def _rank(row: SteeringRow) -> float:
    return math.inf if row.report is None or math.isnan(row.report.value) else -row.report.value


def _named(row: SteeringRow) -> str:
    size = "" if row.size is None else f", {row.size} features"
    return f"{row.method} of {row.site}, {row.route} at {row.place}{size}"
