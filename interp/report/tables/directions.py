"""Tables of the page of directions."""

import numpy as np

from interp.core import Score
from interp.core.display.markup import MISSING, fixed
from interp.diffusion.scores.dose import DoseResponse
from interp.diffusion.scores.effects import EditScore
from interp.report.figures.directions import method_title, unit_words
from interp.report.tables.features import Table, control_cell, score_cell
from interp.studies.directions.result import DirectionsResult


def gate_table(result: DirectionsResult) -> Table | None:
    """Each factor of generated images against the data."""
    gate = result.gate
    if gate is None:
        return None
    rows = tuple(
        (
            name,
            score_cell(found.mean, signed=True),
            control_cell(found.mean),
            score_cell(found.sd),
            control_cell(found.sd),
            f"{found.ks:.3f} (p {found.p:.2g})",
            "; ".join(found.problems) or "passes",
        )
        for name, found in gate.factors.items()
    )
    title = (
        f"Generated images against the data: off-range pixels {gate.off_range:.2%}, "
        f"unreadable images {gate.unreadable:.2%}"
    )
    header = (
        "Factor",
        "Mean, sd of the data",
        "Data's own",
        "Sd, of the data's",
        "Data's own",
        "KS",
        "Verdict",
    )
    return Table(title.replace("%", " %"), header, rows)


def interchange_table(result: DirectionsResult) -> Table:
    """How much of each factor moves with the site, over all steps and in parts."""
    test = result.interchange
    windows = list(dict.fromkeys(row.window for row in test.rows))
    slopes = {(row.factor, row.window): row.slope for row in test.rows}
    header = (
        "Factor",
        "All steps",
        "Third image's",
        *(f"Steps {window.start}–{window.stop - 1}" for window in windows[1:]),
    )
    rows = tuple(
        (
            factor,
            score_cell(slopes[factor, windows[0]]),
            control_cell(slopes[factor, windows[0]]),
            *(score_cell(slopes[factor, window]) for window in windows[1:]),
        )
        for factor in exchanged(result)
    )
    return Table(
        "Slope of what moved on what was exchanged: 1 goes through, 0 does not", header, rows
    )


def scores_table(result: DirectionsResult) -> Table | None:
    """Every scored direction: its change, right signs, leak and monotony."""
    if not result.scores:
        return None
    slopes = {factor: result.interchange[factor] for factor in exchanged(result)}
    straight = tuple(
        _scored_row(name, score, slopes.get(name), result.curves.get(name))
        for name, score in result.scores.items()
    )
    curved = tuple(
        _scored_row(f"{name}, along curves", score, slopes.get(name), None)
        for name, score in result.curved.items()
    )
    header = (
        "Factor",
        "Goes through",
        "Strength",
        "Change",
        "Random",
        "Right sign",
        "Random",
        "Leak",
        "Random",
        "Monotone",
    )
    return Table("Scored directions", header, straight + curved)


def _scored_row(
    title: str, score: EditScore, slope: Score | None, curve: DoseResponse | None
) -> tuple[str, ...]:
    return (
        title,
        MISSING if slope is None else fixed(slope.value),
        f"{score.strength:.3g}" + ("" if score.reached else " (not reached)"),
        score_cell(score.change, signed=True),
        control_cell(score.change, signed=True),
        f"{100 * score.right_sign.value:.1f} %",
        MISSING if score.right_sign.control is None else f"{100 * score.right_sign.control:.0f} %",
        score_cell(score.leak),
        control_cell(score.leak),
        MISSING if curve is None else fixed(curve.monotone.value),
    )


def effects_table(result: DirectionsResult) -> Table:
    """The numbers of the heat map, with intervals and strengths."""
    rows = tuple(
        (
            f"{method_title(found.method)} · {name}",
            f"{found.strengths[place]:.3g}" + ("" if found.reached[place] else " (not reached)"),
            *(score_cell(found.effects[name][factor], signed=True) for factor in result.factors),
            f"{found.purity[name]:.2f}",
        )
        for found in result.methods
        for place, name in enumerate(found.directions.names)
    )
    return Table(
        f"Changes in {unit_words(result)}",
        ("Direction", "Strength", *result.factors, "Purity"),
        rows,
    )


def comparison_table(result: DirectionsResult) -> Table:
    """Every method, the best separation first."""
    found = sorted(result.methods, key=lambda method: -method.separation.value)
    rows = tuple(
        (
            method_title(method.method),
            score_cell(method.separation),
            control_cell(method.separation),
            f"{np.mean(list(method.purity.values())):.2f}",
            f"{100 * method.coverage:.0f} %",
            f"{np.mean(list(method.spanned.values())):.2f}",
            f"{method.chance:.3f}",
            f"{sum(method.reached)} of {len(method.reached)}",
            f"{method.seconds:.0f}",
        )
        for method in found
    )
    header = (
        "Method",
        "Separation",
        "Random tables",
        "Purity",
        "Coverage",
        "Spans",
        "By chance",
        "Reached",
        "Seconds",
    )
    muted = frozenset(place for place, method in enumerate(found) if method.method == "random")
    return Table("Methods at equal effect", header, rows, muted)


def exchanged(result: DirectionsResult) -> list[str]:
    """The factors of the interchange test."""
    return list(dict.fromkeys(row.factor for row in result.interchange.rows))
