"""Tables of a report: the same rows for the console (markdown), a notebook and the page (html)."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of plain text; `muted` numbers the rows that are controls.

    Example:
        >>> print(families_table(data).markdown())
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    muted: frozenset[int] = frozenset()

    def markdown(self) -> str:
        """The table in GitHub's markdown."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"
            for line in lines
        )

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in self.header)
        body = "".join(self._html_row(number) for number in range(len(self.rows)))
        caption = f"<caption>{html.escape(self.caption)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _html_row(self, number: int) -> str:
        first, *rest = (html.escape(cell) for cell in self.rows[number])
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        return (
            f"<tr{' class=muted' if number in self.muted else ''}><th "
            f'scope="row">{first}</th>{cells}</tr>'
        )


def score_cell(score: Mapping[str, Any] | None, digits: int = 2, *, signed: bool = False) -> str:
    """A score's dictionary as text: `0.91 [0.88, 0.94]`, or a dash when it is undefined.

    Example:
        >>> score_cell({"value": 0.912, "low": 0.88, "high": 0.941})
        '0.91 [0.88, 0.94]'
    """
    if score is None or score["value"] is None:
        return MISSING
    value = _number(score["value"], digits, signed)
    if score["low"] is None or score["high"] is None:
        return value
    return (
        f"{value} [{_number(score['low'], digits, signed)}, "
        f"{_number(score['high'], digits, signed)}]"
    )


def _number(value: float, digits: int, signed: bool = False) -> str:
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    rounded_to_zero = float(text) == 0
    return (text.lstrip("+-") if rounded_to_zero else text).replace("-", "−")


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence as a list in words: `a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def method_titles(data: Mapping[str, Any]) -> dict[str, str]:
    """Each method's name to its title; one that no decomposition of the report carries (a control)
    keeps its name, in words.
    """
    titles = {item["method"]: item["title"] for item in data["methods"]}
    others = [item["method"] for item in data["detection"]["summary"]]
    others += [best["method"] for item in data["detection"]["concepts"] for best in item["best"]]
    return titles | {
        name: name.replace("-", " ").replace("_", " ") for name in others if name not in titles
    }


def control_methods(data: Mapping[str, Any]) -> frozenset[str]:
    """The methods of the detection part that are controls: those that never name a feature."""
    best = [best for item in data["detection"]["concepts"] for best in item["best"]]
    return frozenset(item["method"] for item in best) - frozenset(
        item["method"] for item in best if item["feature"] is not None
    )


def families_table(data: Mapping[str, Any]) -> Table:
    """Each steering family at the strength that the selection prompts chose, scored on the report
    prompts.
    """
    families = data["steering"]["families"]
    rows = tuple(
        (
            family["title"],
            score_cell(family["report"]),
            score_cell(family["minus_best_control"], signed=True),
            str(family["n"]),
            str(family["unreachable"]),
        )
        for family in families
    )
    return Table(
        "Steering score at the strength chosen on other prompts, 0 to 2",
        ("Family", "Score", "Minus best control", "n", "Unreachable"),
        rows,
        frozenset(number for number, family in enumerate(families) if family["control"]),
    )


def methods_table(data: Mapping[str, Any]) -> Table:
    """Each decomposition: how much it explains, how sparse it is and, where that was measured, how
    surely its features are found again.
    """
    measured = any(method["stability"] for method in data["methods"])
    rows = tuple(
        (
            method["title"],
            f"{method['features']:,}",
            score_cell(method["explained_variance"]),
            _number(method["l0"], 1),
            f"{100 * method['direction_density']:.1f} %",
            f"{100 * method['dead_fraction']:.1f} %",
            f"{method['seconds']:,.1f} s",
            *(_stability_cells(method["stability"]) if measured else ()),
        )
        for method in data["methods"]
    )
    header = (
        *(
            "Method",
            "Features",
            "Variance explained",
            "Active per token",
            "Neurons per direction",
            "Never active",
            "Time",
        ),
        *(("Found by other seeds", "Found on halves", "Control") if measured else ()),
    )
    muted = frozenset(
        number
        for number, method in enumerate(data["methods"])
        if method["method"] in control_methods(data)
    )
    return Table("Reconstruction and sparsity", header, rows, muted)


def _stability_cells(stability: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if stability is None:
        return MISSING, MISSING, MISSING
    control = next(
        (
            score["control"]
            for score in stability.values()
            if score is not None and score["control"] is not None
        ),
        None,
    )
    return (
        score_cell(stability["seeds"]),
        score_cell(stability["halves"]),
        MISSING if control is None else _number(control, 2),
    )


def detection_table(data: Mapping[str, Any]) -> Table:
    """Each method as a detector of concepts: the best feature of each concept, averaged over
    concepts.
    """
    titles, controls = method_titles(data), control_methods(data)
    summary = data["detection"]["summary"]
    rows = tuple(
        (
            titles[item["method"]],
            score_cell(item["mean_auroc"], 3),
            f"{item['at_least_0.9']} of {item['concepts']}",
        )
        for item in summary
    )
    muted = frozenset(number for number, item in enumerate(summary) if item["method"] in controls)
    return Table(
        "Detection of labelled concepts",
        ("Method", "Mean AUROC", "Concepts at AUROC ≥ 0.9"),
        rows,
        muted,
    )


def curve_table(data: Mapping[str, Any]) -> Table:
    """The numbers behind the dose-response figure: one row per family, one column per strength."""
    families = data["steering"]["families"]
    strengths = sorted({point["kl"] for family in families for point in family["curve"]})
    rows = []
    for family in families:
        scores = {point["kl"]: point["score"] for point in family["curve"]}
        rows.append((family["title"], *(score_cell(scores.get(kl)) for kl in strengths)))
    header = ("Family", *(f"KL {kl:g}" for kl in strengths))
    muted = frozenset(number for number, family in enumerate(families) if family["control"])
    return Table("Mean steering score at each strength", header, tuple(rows), muted)


def concepts_table(data: Mapping[str, Any]) -> Table:
    """The numbers behind the detection figure: the best feature of each method for each concept."""
    titles, controls = method_titles(data), control_methods(data)
    best = [
        (item["concept"], found) for item in data["detection"]["concepts"] for found in item["best"]
    ]
    rows = tuple(
        (
            concept,
            titles[found["method"]],
            MISSING if found["feature"] is None else str(found["feature"]),
            score_cell(found["auroc"], 3),
            score_cell(found["auroc_other_concepts"], 3),
            score_cell(found["average_precision"], 3),
            MISSING if found["paper_score"] is None else _number(found["paper_score"], 2),
        )
        for concept, found in best
    )
    header = (
        "Concept",
        "Method",
        "Feature",
        "AUROC",
        "AUROC against other concepts",
        "Average precision",
        "Log activation ratio",
    )
    muted = frozenset(
        number for number, (_, found) in enumerate(best) if found["method"] in controls
    )
    return Table("Best feature of each method for each concept", header, rows, muted)
