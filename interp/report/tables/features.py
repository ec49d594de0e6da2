"""Tables of a report, for the console (markdown), notebooks and the page (html)."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interp.core import Score
from interp.core.display.markup import MISSING, fixed
from interp.report.data.records import MethodStability, Report


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


def score_cell(score: Score | None, digits: int = 2, *, signed: bool = False) -> str:
    """A score as text, `0.91 [0.88, 0.94]`, or a dash if undefined.

    Example:
        >>> score_cell(Score(0.912, 0.88, 0.941, n=50, seed=0))
        '0.91 [0.88, 0.94]'
    """
    if score is None or not math.isfinite(score.value):
        return MISSING
    bounds = interval_cell(score, digits, signed=signed)
    return fixed(score.value, digits, signed=signed) + (f" {bounds}" if bounds else "")


def interval_cell(score: Score, digits: int = 2, *, signed: bool = False) -> str:
    """A score's interval as text, `[0.88, 0.94]`, or nothing."""
    if not (math.isfinite(score.low) and math.isfinite(score.high)):
        return ""
    low, high = (fixed(end, digits, signed=signed) for end in (score.low, score.high))
    return f"[{low}, {high}]"


def control_cell(score: Score | None, digits: int = 2, *, signed: bool = False) -> str:
    """A score's control as text, or a dash."""
    return MISSING if score is None else fixed(score.control, digits, signed=signed)


def beside(score: Score, digits: int = 2, name: str = "control") -> str:
    """A score's control in brackets, to follow the score in a sentence; nothing where it has
    none.
    """
    return "" if score.control is None else f" ({name} {control_cell(score, digits)})"


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence as a list in words: `a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def method_titles(data: Report) -> dict[str, str]:
    """Each method's name to its title; one that no decomposition of the report carries (a control)
    keeps its name, in words.
    """
    titles = {item.method: item.title for item in data.methods}
    others = [item.method for item in data.detection.summary]
    others += [item.method for item in data.detection.best]
    return titles | {
        name: name.replace("-", " ").replace("_", " ") for name in others if name not in titles
    }


def control_methods(data: Report) -> frozenset[str]:
    """The methods of detection that are controls: those without a numbered feature."""
    best = list(data.detection.best)
    named = {item.method for item in best if item.feature is not None}
    return frozenset(item.method for item in best) - named


def families_table(data: Report) -> Table:
    """Each steering family's score on the report prompts, at the strength chosen on others."""
    families = data.steering.families
    rows = tuple(
        (
            family.title,
            score_cell(family.report),
            score_cell(family.minus_best_control, signed=True),
            str(family.n),
            str(family.unreachable),
        )
        for family in families
    )
    return Table(
        "Steering score at the strength chosen on other prompts, 0 to 2",
        ("Family", "Score", "Minus best control", "n", "Unreachable"),
        rows,
        _numbers(family.control for family in families),
    )


def _numbers(chosen: Iterable[bool]) -> frozenset[int]:
    return frozenset(number for number, true in enumerate(chosen) if true)


def methods_table(data: Report) -> Table:
    """Each decomposition: variance explained, sparsity and, if measured, stability."""
    measured = any(method.stability for method in data.methods)
    rows = tuple(
        (
            method.title,
            f"{method.features:,}",
            score_cell(method.explained_variance),
            fixed(method.l0, 1),
            f"{100 * method.direction_density:.1f} %",
            f"{100 * method.dead_fraction:.1f} %",
            f"{method.seconds:,.1f} s",
            *(_stability_cells(method.stability) if measured else ()),
        )
        for method in data.methods
    )
    header = (
        "Method",
        "Features",
        "Variance explained",
        "Active per token",
        "Neurons per direction",
        "Never active",
        "Time",
        *(("Found by other seeds", "Found on halves", "Control") if measured else ()),
    )
    controls = control_methods(data)
    muted = _numbers(method.method in controls for method in data.methods)
    return Table("Reconstruction and sparsity", header, rows, muted)


def _stability_cells(found: MethodStability | None) -> tuple[str, str, str]:
    if found is None:
        return MISSING, MISSING, MISSING
    seeds, halves = found.seeds, found.halves
    control = control_cell(halves if seeds is None or seeds.control is None else seeds)
    return score_cell(seeds), score_cell(halves), control


def detection_table(data: Report) -> Table:
    """Each method's detection by the best feature of each concept, averaged over concepts."""
    titles, controls = method_titles(data), control_methods(data)
    summary = data.detection.summary
    rows = tuple(
        (titles[item.method], score_cell(item.mean_auroc, 3), f"{item.good} of {item.concepts}")
        for item in summary
    )
    return Table(
        "Detection of labelled concepts",
        ("Method", "Mean AUROC", "Concepts at AUROC ≥ 0.9"),
        rows,
        _numbers(item.method in controls for item in summary),
    )


def curve_table(data: Report) -> Table:
    """The numbers of the dose-response figure: a row per family, a column per strength."""
    families = data.steering.families
    strengths = sorted({point.kl for family in families for point in family.curve})
    rows = []
    for family in families:
        scores = {point.kl: point.score for point in family.curve}
        rows.append((family.title, *(score_cell(scores.get(kl)) for kl in strengths)))
    header = ("Family", *(f"KL {kl:g}" for kl in strengths))
    muted = _numbers(family.control for family in families)
    return Table("Mean steering score at each strength", header, tuple(rows), muted)


def concepts_table(data: Report) -> Table:
    """The numbers of the detection figure: each method's best feature for each concept."""
    titles, controls = method_titles(data), control_methods(data)
    rows = tuple(
        (
            item.concept,
            titles[found.method],
            MISSING if found.feature is None else str(found.feature),
            score_cell(found.auroc, 3),
            score_cell(found.auroc_other_concepts, 3),
            score_cell(found.average_precision, 3),
            fixed(found.paper_score),
        )
        for item in data.detection.concepts
        for found in item.best
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
    muted = _numbers(found.method in controls for found in data.detection.best)
    return Table("Best feature of each method for each concept", header, rows, muted)
