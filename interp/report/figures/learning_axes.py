"""Parts of figures of learning dynamics: an axis of steps, lines with bands, a shaded lag."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from interp.dynamics.learning_times import LearningRule
from interp.report.figures.captions import as_label
from interp.report.figures.features import GREY, _styled, clear
from interp.studies.learning.result import Band

SHADE = "rgba(134,139,148,.22)"
BEYOND = 1.06
"""Where times not reached are drawn, in multiples of the last step's place."""

ROOM = 0.11
"""Least distance between ticks, as a share of the axis."""


def height(step: float | None, last: int) -> float:
    """A step's place on an axis of square roots; past its end for None."""
    return BEYOND * math.sqrt(last) if step is None else math.sqrt(step)


def step_ticks(last: int) -> list[int]:
    """Round steps from 0 to the last that stand apart on an axis of square roots.

    Example:
        >>> step_ticks(2400)
        [0, 50, 200, 500, 1000, 1500, 2400]
    """
    size = 10 ** max(0, math.floor(math.log10(max(last, 1))) - 2)
    round_steps = [size * factor * ten for ten in (1, 10, 100) for factor in (1, 2, 3, 5)] + [
        150 * size
    ]
    ticks = [0]
    end = math.sqrt(last)
    for step in sorted(step for step in round_steps if step < last):
        place = math.sqrt(step)
        if min(place - math.sqrt(ticks[-1]), end - place) >= ROOM * end:
            ticks.append(step)
    return [*ticks, last]


def step_axis(update: Callable[..., Any], last: int, title: str, *, beyond: bool = False) -> None:
    """Space an axis (`figure.update_xaxes`, …) by square roots of steps, as checkpoints are;
    `beyond` adds “> last”.
    """
    ticks = step_ticks(last)
    places, words = [math.sqrt(step) for step in ticks], [f"{step:,}" for step in ticks]
    end = math.sqrt(last)
    if beyond:
        places, words = [*places, height(None, last)], [*words, f"> {last:,}"]
    update(
        title=title,
        tickvals=places,
        ticktext=words,
        range=[-0.02 * end, (BEYOND + 0.03 if beyond else 1.02) * end],
    )


def line(
    steps: Sequence[int],
    values: Float[np.ndarray, " checkpoint"],
    title: str,
    style: dict[str, object],
    *,
    hover: str | None = None,
) -> go.Scatter:
    """A curve over steps; without a title it is not in the legend."""
    return go.Scatter(
        x=np.sqrt(steps),
        y=values,
        mode="lines",
        name=as_label(hover or title),
        showlegend=bool(title),
        line=style,
        customdata=list(steps),
        hovertemplate="%{fullData.name}, step %{customdata:,}: %{y:.2f}<extra></extra>",
    )


def banded(
    figure: go.Figure,
    curve: Band,
    title: str,
    color: str,
    *,
    dash: str = "solid",
    bold: bool = True,
) -> None:
    """Add a mean over steps, and its band if it has one."""
    if curve.ends is not None:
        edge = {"color": color, "width": 0}
        plain = {
            "x": np.sqrt(curve.steps),
            "mode": "lines",
            "line": edge,
            "hoverinfo": "skip",
            "showlegend": False,
        }
        low, high = curve.ends
        filled = {"fill": "tonexty", "fillcolor": clear(color, 0.16)}
        figure.add_trace(go.Scatter(y=low, **plain))
        figure.add_trace(go.Scatter(y=high, **filled, **plain))
    style = {"color": color, "width": 2.25 if bold else 1.75, "dash": dash}
    figure.add_trace(line(curve.steps, curve.mean, title, style))


def shade_lag(figure: go.Figure, made: float | None, prompted: float | None, last: int) -> None:
    """Shade from where an intervention works to where prompting does, or to the right end; nothing
    if prompting works first.
    """
    if made is None or (prompted is not None and prompted <= made):
        return
    end = last if prompted is None else prompted
    figure.add_shape(
        type="rect",
        x0=math.sqrt(made),
        x1=math.sqrt(end),
        y0=0,
        y1=1,
        yref="paper",
        fillcolor=SHADE,
        line={"width": 0},
        layer="below",
    )
    figure.add_annotation(
        x=(math.sqrt(made) + math.sqrt(end)) / 2,
        y=1,
        yref="paper",
        yanchor="top",
        text="lag, open" if prompted is None else "lag",
        showarrow=False,
        font={"size": 11},
    )


def over_steps(figure: go.Figure, last: int, rule: LearningRule, title: str) -> go.Figure:
    """Style a figure of shares over steps, with the rule's threshold dotted; the page has one
    legend for all.
    """
    figure = _styled(figure, 320)
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": rule.threshold, "y1": rule.threshold}
    figure.add_shape(type="line", **ends, line={"color": GREY, "width": 1, "dash": "dot"})
    step_axis(figure.update_xaxes, last, "Training step")
    figure.update_yaxes(title=title, range=[-0.03, 1.05])
    return figure.update_layout(showlegend=False, margin={"l": 56, "r": 8, "t": 8, "b": 48})
