"""Figures of directions in generators: a heat map of effects, dose-response, and separation."""

from collections.abc import Sequence
from itertools import accumulate

import plotly.graph_objects as go

from interp.core.display.markup import MISSING, fixed
from interp.diffusion.scores.dose import DoseResponse
from interp.report.figures.captions import as_label, captioned, interval_words
from interp.report.figures.features import GREY, PALETTE, SYMBOLS, _styled, clear, score_bars
from interp.report.tables.features import control_cell, interval_cell
from interp.studies.directions.result import DirectionsResult, MethodResult

TITLES = {
    "regression": "regression",
    "mean difference": "mean difference",
    "pca": "PCA",
    "ica": "ICA",
    "snmf": "semi-NMF",
    "sae": "SAE (top-k)",
    "noiseclr": "NoiseCLR",
    "jacobian": "Jacobian of one image",
    "random": "random directions",
}
ROW = 24
"""Pixels of a row of the heat map."""

STRONGEST = 0.8
"""Opacity of the strongest cell, on which text must be legible."""


def method_title(method: str) -> str:
    """A method's name in figures and tables."""
    return TITLES.get(method, method)


def effect_map(result: DirectionsResult) -> go.Figure:
    """Directions by factors: the change of each factor at equal effect, in standard deviations of
    the data; blue grows, orange shrinks.

    Rows are grouped by method; hover text has the interval, n and a random direction of equal norm.

    Example:
        >>> effect_map(result).show()
    """
    rows = [(found, name) for found in result.methods for name in found.directions.names]
    values = [
        [found.effects[name][factor].value for factor in result.factors] for found, name in rows
    ]
    top = max([abs(value) for line in values for value in line], default=1.0) or 1.0
    labels = [f"{as_label(method_title(found.method))} · {as_label(name)}" for found, name in rows]
    columns = [as_label(factor) for factor in result.factors]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=columns,
            y=list(range(len(rows))),
            zmin=-top,
            zmax=top,
            colorscale=[
                [0, clear(PALETTE[1], STRONGEST)],
                [0.5, clear(GREY, 0.0)],
                [1, clear(PALETTE[0], STRONGEST)],
            ],
            customdata=[
                [_hover(found, name, factor) for factor in result.factors] for found, name in rows
            ],
            hovertemplate="%{customdata}<extra></extra>",
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    for place, line in enumerate(values):
        for column, value in zip(columns, line, strict=True):
            text = fixed(value, signed=True)
            figure.add_annotation(x=column, y=place, text=text, showarrow=False, font={"size": 12})
    figure = _styled(figure, 80 + ROW * len(rows))
    figure.update_xaxes(side="top", showgrid=False, type="category")
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=labels,
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
    )
    for border in _borders(result.methods):
        ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": border, "y1": border}
        figure.add_shape(type="line", **ends, line={"color": GREY, "width": 1})
    effects = [one for found in result.methods for one in found.effects.values()]
    shown = [score for one in effects for score in one.values()]
    caption = (
        f"Mean change at equal measured effect, in {unit_words(result)}; hover: "
        f"{interval_words(shown)} (images) and what a random "
        "direction of equal norm does (control)."
    ).replace("bars: ", "")
    return captioned(figure.update_layout(margin={"l": 190, "r": 12, "t": 36, "b": 12}), caption)


def dose_curves(result: DirectionsResult) -> go.Figure:
    """Each scored factor's mean change against the strength, in multiples of the chosen one; grey:
    random directions of equal norm.

    Example:
        >>> dose_curves(result).show()
    """
    figure = go.Figure()
    names = list(result.curves)
    for number, name in enumerate(names):
        curve = result.curves[name]
        unit = result.scores[name].strength
        shift = 0.035 * (number - (len(names) - 1) / 2)
        x = [strength / unit + shift for strength in curve.strengths]
        control = [MISSING if score.control is None else score.control for score in curve.changes]
        figure.add_trace(_random(x, control, name, number == 0))
        figure.add_trace(_curve(x, curve, name, number))
    figure = _styled(figure, 400)
    figure.update_xaxes(title="Strength, in multiples of the chosen one")
    figure.update_yaxes(
        title=f"Change of the factor, {unit_words(result)}",
        zeroline=True,
        zerolinecolor=GREY,
        zerolinewidth=1,
    )
    words = interval_words([score for curve in result.curves.values() for score in curve.changes])
    caption = (
        f"Points are moved sideways a little; {words} (images). Dotted grey: random directions of "
        "equal norm (control)."
    )
    return captioned(figure.update_layout(legend_traceorder="normal"), caption)


def separations(result: DirectionsResult) -> go.Figure:
    """How well each method's directions separate the factors, with intervals; grey ticks: random
    tables.

    Example:
        >>> separations(result).show()
    """
    found = sorted(result.methods, key=lambda method: method.separation.value)
    figure = go.Figure()
    rows = list(range(len(found)))
    figure.add_trace(
        go.Scatter(
            x=[method.separation.control for method in found],
            y=rows,
            mode="markers",
            name="random tables",
            marker={"symbol": "line-ns", "size": 15, "line": {"color": GREY, "width": 2}},
            hovertemplate="random tables %{x:.2f}<extra></extra>",
        )
    )
    for supervised, title in ((True, "with labels"), (False, "without labels")):
        places = [row for row in rows if found[row].supervised == supervised]
        scores = [found[row].separation for row in places]
        figure.add_trace(
            go.Scatter(
                x=[score.value for score in scores],
                y=places,
                mode="markers",
                name=title,
                error_x=score_bars(scores) | {"color": GREY},
                marker={
                    "size": 9,
                    "symbol": "diamond" if supervised else "circle",
                    "color": [
                        GREY if found[row].method == "random" else PALETTE[int(supervised)]
                        for row in places
                    ],
                },
                customdata=[interval_cell(score, signed=True) for score in scores],
                hovertemplate="%{x:.2f} %{customdata}<extra></extra>",
            )
        )
    figure = _styled(figure, 130 + 30 * max(3, len(rows)))
    titles = [as_label(method_title(method.method)) for method in found]
    figure.update_yaxes(tickvals=rows, ticktext=titles, range=[-0.6, len(rows) - 0.4])
    figure.update_xaxes(
        title="Separation (1: every factor has a direction of its own)", range=[0, 1.03]
    )
    words = interval_words([method.separation for method in found])
    figure.update_layout(legend_traceorder="normal", margin={"l": 150, "r": 16, "t": 16, "b": 76})
    return captioned(
        figure,
        f"{words[0].upper()}{words[1:]} (images). Grey ticks: random tables of the same size "
        "(control).",
    )


def unit_words(result: DirectionsResult) -> str:
    """The unit of changes: the standard deviation (sd) of the data, or of generated images without
    data.
    """
    return "sd of the data" if result.gate is not None else "sd of generated images"


def _random(x: Sequence[float], control: Sequence[object], name: str, shown: bool) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=control,
        mode="lines+markers",
        name="random directions",
        legendgroup="random",
        showlegend=shown,
        line={"color": GREY, "width": 1, "dash": "dot"},
        marker={"size": 5, "color": GREY},
        hovertemplate=f"random, {as_label(name)}: %{{y:+.2f}}<extra></extra>",
    )


def _curve(x: Sequence[float], curve: DoseResponse, name: str, number: int) -> go.Scatter:
    title, scores, color = as_label(name), curve.changes, PALETTE[number % len(PALETTE)]
    return go.Scatter(
        x=x,
        y=[score.value for score in scores],
        mode="lines+markers",
        name=title,
        line={"color": color, "width": 1.5},
        marker={"size": 8, "symbol": SYMBOLS[number % len(SYMBOLS)], "color": color},
        error_y=score_bars(scores),
        customdata=[
            [interval_cell(score, signed=True), score.n, f"{strength:.3g}"]
            for score, strength in zip(scores, curve.strengths, strict=True)
        ],
        hovertemplate=(
            f"{title}, strength %{{customdata[2]}}: %{{y:+.2f}} %{{customdata[0]}}, n = "
            f"%{{customdata[1]}}<extra></extra>"
        ),
    )


def _hover(found: MethodResult, name: str, factor: str) -> str:
    score = found.effects[name][factor]
    control = (
        "" if score.control is None else f"<br>random direction {control_cell(score, signed=True)}"
    )
    return (
        f"<b>{as_label(method_title(found.method))} · {as_label(name)}</b><br>{as_label(factor)} "
        f"{fixed(score.value, signed=True)} {interval_cell(score, signed=True)}, "
        f"n = {score.n}{control}"
    )


def _borders(methods: Sequence[MethodResult]) -> list[float]:
    """The heights between one method's rows and the next's."""
    rows = accumulate(len(found.directions) for found in methods[:-1])
    return [row - 0.5 for row in rows]
