"""The page of a comparison: what every way of steering scores, beside its controls, and the
differences in pairs.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.core import Score
from interp.core.display.markup import MISSING
from interp.core.files import write_text
from interp.core.reading import read_record
from interp.report.figures import features as figures
from interp.report.figures.captions import json_for_page
from interp.report.pages.features import embed_json, self_contained
from interp.report.tables.features import METHOD_TITLES, Table, score_cell

SCRIPTS = ("charts.js", "figures.js", "comparison.js")
SUPERVISED = "difference_in_means"
FULL_SCORE, PERCENT = 2.0, 102.0


def write_comparison(data: Mapping[str, Any], folder: Path) -> Path:
    """Write `index.html`, a self-contained page about a comparison's result, and return its path.

    Raises:
        UnavailableError: the folder cannot be written.

    Example:
        >>> write_comparison(interp.compare(settings, "comparison"), Path("comparison"))
        PosixPath('comparison/index.html')
    """
    drawn = {
        "score": figures.ways_of_steering(
            _ways(data, "report"),
            "Steering score (0 to 2) at the strength chosen on other prompts",
            FULL_SCORE,
        ),
        "lift": figures.ways_of_steering(
            _ways(data, "lift_percentile"),
            "Likelihood lift: percentile among random directions",
            PERCENT,
        ),
    }
    values = {
        "title": f"Which features of {data['settings']['model']} steer?",
        "data": data,
        "judge_auroc": _cell(data["judge"]["auroc"], 3),
        "findings": findings(data),
        "steering": steering_table(data),
        "controls": controls_table(data),
        "differences": differences_table(data),
        "detection": detection_table(data),
        "rows": len({way.label for way in _ways(data, "report")}),
        "settings": json.dumps(data["settings"], indent=1, ensure_ascii=False),
        "embedded_figures": embed_json(json_for_page(drawn)),
    }
    write_text(folder / "index.html", self_contained("comparison.html.j2", SCRIPTS, values))
    return folder / "index.html"


def findings(data: Mapping[str, Any]) -> list[str]:
    """What a comparison found, in sentences no stronger than its intervals."""
    rows = [row for row in data["steering"] if row["report"] is not None]
    unsupervised = [row for row in rows if row["method"] != SUPERVISED]
    if not unsupervised:
        return ["No unsupervised direction reached a strength, so nothing can be said."]
    best = max(unsupervised, key=lambda row: row["report"]["value"])
    return [_best(best, data), *_against_supervised(best, data), *_routes(data), _controls(data)]


def _best(best: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    return (
        f"Of the unsupervised ways, {_way(best)} steers best: {_cell(best['report'])} of 2, "
        f"{_cell(best['margin'], signed=True)} "
        f"over the best control, with {best['n']} concepts; {best['beat_control']} of them beat "
        "their control on their own."
    )


def _against_supervised(best: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    found = [
        row["difference"]
        for row in data["differences"]
        if row["second"]["method"] == SUPERVISED
        and all(row["first"][key] == best[key] for key in row["first"])
    ]
    return [
        (
            "Minus supervised difference in means at the same place, at equal KL: "
            f"{_cell(score, signed=True)}"
        )
        + _verdict(score)
        for score in found
    ]


def _verdict(score: Mapping[str, Any]) -> str:
    if score["low"] is None or score["low"] <= 0 <= score["high"]:
        return "; the interval holds zero."
    return "; it is ahead." if score["low"] > 0 else "; it is behind."


def _routes(data: Mapping[str, Any]) -> list[str]:
    pairs = [
        row for row in data["differences"] if row["question"] == "companion minus own direction"
    ]
    unsupervised = [row["difference"] for row in pairs if row["first"]["method"] != SUPERVISED]
    if not unsupervised:
        return []
    ahead = sum(score["low"] > 0 for score in unsupervised)
    behind = sum(score["high"] < 0 for score in unsupervised)
    text = (
        f"Companions against own directions, {len(unsupervised)} pairs at equal KL: ahead in "
        f"{ahead}, behind in {behind}"
    )
    return [text + ", undecided in the rest."]


def _controls(data: Mapping[str, Any]) -> str:
    scores = [
        row["report"]["value"]
        for row in data["controls"]
        if row["report"] and row["report"]["value"] is not None
    ]
    top = max(scores, default=float("nan"))
    text = f"Random directions and no steering score at most {top:.2f} on the same prompts."
    return text + f" {data['failed']} of {data['judged']} judgements failed."


def steering_table(data: Mapping[str, Any]) -> Table:
    """Every way of steering: score, margin over the best control, lift percentile, and how many
    concepts.
    """
    rows = tuple(
        (
            _way(row),
            _cell(row["report"]),
            _cell(row["margin"], signed=True),
            f"{row['beat_control']} of {row['n']}",
            _cell(row["lift"], 3, signed=True),
            _cell(row["lift_percentile"], 0),
            _cell(row["benign_kl"]),
            _cell(row["perplexity_ratio"]),
            str(row["unreachable"]),
        )
        for row in data["steering"]
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


def controls_table(data: Mapping[str, Any]) -> Table:
    """Random directions and no steering, place by place."""
    rows = tuple(
        (f"{row['family']} ({row['place']})", _cell(row["report"])) for row in data["controls"]
    )
    return Table("Controls", ("Control", "Score"), rows, frozenset(range(len(rows))))


def differences_table(data: Mapping[str, Any]) -> Table:
    """Paired differences at equal KL."""
    rows = tuple(
        (
            _way(row["first"]),
            _way(row["second"]),
            row["question"],
            _cell(row["difference"], signed=True),
            f"{row['kl']:g}",
        )
        for row in data["differences"]
    )
    return Table(
        "Paired differences at equal strength",
        ("First", "Second", "Question", "First minus second", "KL"),
        rows,
    )


def detection_table(data: Mapping[str, Any]) -> Table:
    """Every dictionary: what it explains and what it detects."""
    rows = tuple(
        (
            f"{METHOD_TITLES[row['method']]} at {row['site']}",
            str(row["size"]),
            f"{row['detected']} of {row['concepts']}",
            _cell(row["auroc"], 3),
            MISSING if row["auroc"]["control"] is None else f"{row['auroc']['control']:.3f}",
            _cell(row["explained_variance"]),
            f"{row['l0']:.1f}",
            f"{row['seconds']:.1f} s",
        )
        for row in data["detection"]
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
    muted = frozenset(
        number for number, row in enumerate(data["detection"]) if row["method"] == "random"
    )
    return Table("Detection of labelled concepts on held-out sentences", header, rows, muted)


def _way(row: Mapping[str, Any]) -> str:
    size = f" ({row['size']})" if row["size"] else ""
    if row["route"] == "native":
        return f"{METHOD_TITLES[row['method']]}{size}, own direction at {row['place']}"
    return f"{METHOD_TITLES[row['method']]}{size} of {row['site']}, companion at {row['place']}"


def _ways(data: Mapping[str, Any], key: str) -> list[figures.Way]:
    return [_labelled(row, key) for row in data["steering"]]


def _labelled(row: Mapping[str, Any], key: str) -> figures.Way:
    label = (
        f"own, {row['place']}" if row["route"] == "native" else f"{row['site']} → {row['place']}"
    )
    size = f" ({row['size']})" if row["size"] else ""
    title = METHOD_TITLES[row["method"]] + size
    return figures.Way(label, f"{row['method']}{size}", title, _score(row[key]))


def _score(found: Mapping[str, Any] | None) -> Score | None:
    return None if found is None else read_record(Score, found)


def _cell(found: Mapping[str, Any] | None, digits: int = 2, *, signed: bool = False) -> str:
    return score_cell(_score(found), digits, signed=signed)
