"""The page of a comparison: every way of steering beside its controls, and paired differences."""

import json
import math
from pathlib import Path

from interp.core import Score
from interp.core.display.markup import MISSING
from interp.core.files import write_text
from interp.core.plain import plain
from interp.report.figures import features as figures
from interp.report.figures.captions import json_for_page
from interp.report.pages.features import embed_json, self_contained
from interp.report.tables.features import Table, score_cell
from interp.studies.comparison.records import Way
from interp.studies.comparison.result import COMPANION_OR_OWN, ComparisonResult, SteeringRow
from interp.studies.methods import METHOD_TITLES, RANDOM, SUPERVISED

SCRIPTS = ("charts.js", "figures.js", "comparison.js")
FULL_SCORE, PERCENT = 2.0, 102.0


def write_comparison(result: ComparisonResult, folder: Path) -> Path:
    """Write a comparison's self-contained page, `index.html`, and return its path.

    Raises:
        UnavailableError: the folder cannot be written.

    Example:
        >>> write_comparison(interp.compare(settings, "comparison"), Path("comparison"))
        PosixPath('comparison/index.html')
    """
    figures_drawn = {
        "score": figures.ways_of_steering(
            [_drawn(row, row.report) for row in result.steering],
            "Steering score (0 to 2) at the strength chosen on other prompts",
            FULL_SCORE,
        ),
        "lift": figures.ways_of_steering(
            [_drawn(row, row.lift_percentile) for row in result.steering],
            "Likelihood lift: percentile among random directions",
            PERCENT,
        ),
    }
    values = {
        "title": f"Which features of {result.settings.model} steer?",
        "data": result,
        "judge_auroc": score_cell(result.judge.auroc, 3),
        "findings": findings(result),
        "steering": steering_table(result),
        "controls": controls_table(result),
        "differences": differences_table(result),
        "detection": detection_table(result),
        "rows": len({_label(row) for row in result.steering}),
        "settings": json.dumps(plain(result.settings), indent=1, ensure_ascii=False),
        "embedded_figures": embed_json(json_for_page(figures_drawn)),
    }
    write_text(folder / "index.html", self_contained("comparison.html.j2", SCRIPTS, values))
    return folder / "index.html"


def findings(result: ComparisonResult) -> list[str]:
    """A comparison's findings, no stronger than their intervals."""
    unsupervised = [
        (row.report.value, row)
        for row in result.steering
        if row.method != SUPERVISED and row.report is not None and math.isfinite(row.report.value)
    ]
    if not unsupervised:
        return ["No unsupervised direction reached a strength, so nothing can be said."]
    _, best = max(unsupervised, key=lambda pair: pair[0])
    return [_best(best), *_against_supervised(best, result), *_routes(result), _controls(result)]


def _best(best: SteeringRow) -> str:
    return (
        f"Of the unsupervised ways, {_way(best)} steers best: {score_cell(best.report)} of 2, "
        f"{score_cell(best.margin, signed=True)} over the best control, with {best.n} concepts; "
        f"{best.beat_control} of them beat their control on their own."
    )


def _against_supervised(best: SteeringRow, result: ComparisonResult) -> list[str]:
    return [
        "Minus supervised difference in means at the same place, at equal KL: "
        f"{score_cell(row.difference, signed=True)}{_verdict(row.difference)}"
        for row in result.differences
        if row.second.method == SUPERVISED and row.first == best.way
    ]


def _verdict(score: Score) -> str:
    if score.low > 0:
        return "; it is ahead."
    return "; it is behind." if score.high < 0 else "; the interval holds zero."


def _routes(result: ComparisonResult) -> list[str]:
    unsupervised = [
        row.difference
        for row in result.differences
        if row.question == COMPANION_OR_OWN and row.first.method != SUPERVISED
    ]
    if not unsupervised:
        return []
    ahead = sum(score.low > 0 for score in unsupervised)
    behind = sum(score.high < 0 for score in unsupervised)
    return [
        f"Companions against own directions, {len(unsupervised)} pairs at equal KL: ahead in "
        f"{ahead}, behind in {behind}, undecided in the rest."
    ]


def _controls(result: ComparisonResult) -> str:
    scores = [row.report.value for row in result.controls if row.report is not None]
    top = max((value for value in scores if math.isfinite(value)), default=math.nan)
    return (
        f"Random directions and no steering score at most {top:.2f} on the same prompts. "
        f"{result.failed} of {result.judged} judgements failed."
    )


def steering_table(result: ComparisonResult) -> Table:
    """Every way of steering: score, margin over the best control, lift and side effects."""
    rows = tuple(
        (
            _way(row),
            score_cell(row.report),
            score_cell(row.margin, signed=True),
            f"{row.beat_control} of {row.n}",
            score_cell(row.lift, 3, signed=True),
            score_cell(row.lift_percentile, 0),
            score_cell(row.benign_kl),
            score_cell(row.perplexity_ratio),
            str(row.unreachable),
        )
        for row in result.steering
    )
    header = (
        "Way",
        "Score",
        "Minus best control",
        "Beat their control",
        "Lift, nats a token",
        "Lift percentile",
        "KL on benign text",
        "Perplexity ratio",
        "Unreachable",
    )
    return Table("Steering, means over concepts", header, rows)


def controls_table(result: ComparisonResult) -> Table:
    """Random directions and no steering, by place."""
    rows = tuple((f"{row.family} ({row.place})", score_cell(row.report)) for row in result.controls)
    return Table("Controls", ("Control", "Score"), rows, frozenset(range(len(rows))))


def differences_table(result: ComparisonResult) -> Table:
    """Paired differences at equal KL."""
    rows = tuple(
        (
            _way(row.first),
            _way(row.second),
            row.question,
            score_cell(row.difference, signed=True),
            f"{row.kl:g}",
        )
        for row in result.differences
    )
    return Table(
        "Paired differences at equal strength",
        ("First", "Second", "Question", "First minus second", "KL"),
        rows,
    )


def detection_table(result: ComparisonResult) -> Table:
    """Every dictionary's detection and reconstruction."""
    rows = tuple(
        (
            f"{METHOD_TITLES[row.method]} at {row.site}",
            str(row.size),
            f"{row.detected} of {row.concepts}",
            score_cell(row.auroc, 3),
            MISSING if row.auroc.control is None else f"{row.auroc.control:.3f}",
            score_cell(row.explained_variance),
            f"{row.l0:.1f}",
            f"{row.seconds:.1f} s",
        )
        for row in result.detection
    )
    header = (
        "Dictionary",
        "Features",
        "AUROC ≥ 0.9",
        "Mean AUROC",
        "Shuffled labels",
        "Variance explained",
        "Active per token",
        "Time",
    )
    muted = frozenset(number for number, row in enumerate(result.detection) if row.method == RANDOM)
    return Table("Detection of labelled concepts on held-out sentences", header, rows, muted)


def _title(way: Way) -> str:
    return METHOD_TITLES[way.method] + _size(way)


def _size(way: Way) -> str:
    return f" ({way.size})" if way.size else ""


def _way(way: Way) -> str:
    if way.route == "native":
        return f"{_title(way)}, own direction at {way.place}"
    return f"{_title(way)} of {way.site}, companion at {way.place}"


def _label(row: SteeringRow) -> str:
    return f"own, {row.place}" if row.route == "native" else f"{row.site} → {row.place}"


def _drawn(row: SteeringRow, score: Score | None) -> figures.Way:
    return figures.Way(_label(row), f"{row.method}{_size(row)}", _title(row), score)
