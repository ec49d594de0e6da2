"""Figures of learning dynamics: trajectories in concept space, learning times, lags, births of
features and similarity of representations.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from interp.dynamics.language.steering import Arm
from interp.dynamics.language.tracking import LanguageTrack
from interp.dynamics.learning_times import LearningRule, TypicalTime
from interp.dynamics.turns import Turn
from interp.report.figures.captions import as_label, captioned
from interp.report.figures.features import GREY, PALETTE, SYMBOLS, _styled
from interp.report.figures.learning_axes import (
    banded,
    height,
    line,
    over_steps,
    shade_lag,
    step_axis,
)
from interp.report.tables.learning import arm_title
from interp.studies.learning.result import (
    STEERED,
    LanguageResult,
    LearningResult,
    Plane,
    SignalResult,
    is_random,
    main_arm,
)

EARLY, MIDDLE, LATE = PALETTE[0], PALETTE[3], PALETTE[1]
"""Time as colour, with a contrast of at least 3:1 on light and dark pages."""

FAINT = "rgba(134,139,148,.45)"
ARM_STYLES: dict[Arm, tuple[str, str]] = {
    "own": (LATE, "solid"),
    "transported": (PALETTE[2], "solid"),
    "final": (PALETTE[4], "dash"),
    "random": (GREY, "dash"),
}
NOW = "now"
"""Marks the trace that the page's slider moves."""


def concept_space(plane: Plane, last: int) -> go.Figure:
    """A plane of concept space: runs faint, their mean coloured by step (up to `last`), turns as
    stars.

    Example:
        >>> concept_space(plane, 2400).show()
    """
    figure = go.Figure()
    several = len(plane.ways) > 1
    for name, way in zip(plane.names, plane.ways, strict=True) if several else ():
        x, y = way.T
        thin = {"color": FAINT, "width": 1}
        figure.add_trace(
            go.Scatter(x=x, y=y, mode="lines", name=as_label(name), line=thin, hoverinfo="name")
        )
    mean, grid = plane.mean, plane.grid
    figure.add_trace(_timed(mean, grid, last))
    runs = zip(plane.ways, plane.steps, plane.turns, plane.names, strict=True)
    stars = [
        (way[list(steps).index(int(turn.step))], turn, name)
        for way, steps, turn, name in runs
        if turn is not None and turn.found
    ]
    if stars:
        figure.add_trace(_stars(stars))
    marker = {"size": 15, "symbol": "circle-open", "color": LATE, "line": {"width": 2.5}}
    x, y = mean[-1:].T
    figure.add_trace(
        go.Scatter(x=x, y=y, mode="markers", marker=marker, meta=NOW, hoverinfo="skip")
    )
    figure = _styled(figure, 330)
    figure.update_xaxes(title=as_label(plane.axes[0]), range=[-0.06, 1.06], dtick=0.25)
    figure.update_yaxes(title=as_label(plane.axes[1]), range=[-0.06, 1.06], dtick=0.25)
    for place, text in enumerate(plane.corners or ()):
        figure.add_annotation(_corner(place, text))
    figure.update_layout(
        showlegend=False, hovermode="closest", margin={"l": 52, "r": 8, "t": 8, "b": 48}
    )
    caption = (
        f"Mean of {_runs(len(plane.ways))} (single ones grey); colour: training step, to "
        f"{last:,}; stars: turns."
    )
    return captioned(figure, caption)


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs (seeds)"


def _timed(way: Float[np.ndarray, "checkpoint 2"], grid: Sequence[int], last: int) -> go.Scatter:
    scale = [[0, EARLY], [0.5, MIDDLE], [1, LATE]]
    marker = {
        "color": np.sqrt(grid),
        "cmin": 0,
        "cmax": math.sqrt(last),
        "colorscale": scale,
        "size": 8,
    }
    return go.Scatter(
        x=way[:, 0],
        y=way[:, 1],
        mode="lines+markers",
        name="mean",
        line={"color": GREY, "width": 1.5},
        marker=marker,
        customdata=list(grid),
        hovertemplate="step %{customdata:,}: (%{x:.2f}, %{y:.2f})<extra></extra>",
    )


def _stars(stars: Sequence[tuple[np.ndarray, Turn, str]]) -> go.Scatter:
    return go.Scatter(
        x=[place[0] for place, _, _ in stars],
        y=[place[1] for place, _, _ in stars],
        mode="markers",
        name="turn",
        marker={
            "symbol": "star",
            "size": 12,
            "color": PALETTE[2],
            "line": {"width": 1, "color": "rgba(253,253,252,.9)"},
        },
        customdata=[f"{as_label(name)}: {turn}" for _, turn, name in stars],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _corner(place: int, text: str) -> dict[str, object]:
    right, top = place % 2, place // 2
    anchors = {"xanchor": "right" if right else "left", "yanchor": "bottom" if top else "top"}
    return {
        "x": right,
        "y": top,
        "text": as_label(text),
        "showarrow": False,
        "font": {"size": 11, "color": GREY},
        **anchors,
    }


def arm_style(arm: str, arms: Sequence[str]) -> tuple[str, str]:
    """Colour and dash of an intervention among a figure's; controls are grey."""
    if is_random(arm):
        return GREY, "dash" if arm == "random" else "dot"
    if arm == main_arm(arms):
        return LATE, "solid"
    others = [other for other in arms if not is_random(other) and other != main_arm(arms)]
    place = others.index(arm)
    return PALETTE[2 + place % 3], "solid" if place < 3 else "dash"


def image_legend(arms: Sequence[str]) -> list[tuple[str, str, str]]:
    """Title, colour and dash of the curves of `elicitation_curves`."""
    own = [(arm_title(arm), *arm_style(arm, arms)) for arm in arms]
    return [("prompted (naive)", EARLY, "solid"), *own, ("seen classes, prompted", GREY, "solid")]


def language_legend() -> list[tuple[str, str, str]]:
    """Title, colour and dash of the curves of `concept_curves`."""
    return [
        ("prompted (naive)", EARLY, "solid"),
        *((f"steered: {arm_title(arm)}", *ARM_STYLES[arm]) for arm in STEERED),
    ]


def learning_against_signal(found: LearningResult) -> go.Figure:
    """Learning times of colour, size and both by signal: medians with intervals, runs faint,
    censored ones open.

    Example:
        >>> learning_against_signal(study_learning(runs)).show()
    """
    groups, last = found.signals, found.last
    figure = go.Figure()
    for number, name in enumerate(("colour", "size", "joint")):
        shift = 0.07 * (number - 1)
        rows = [(place + shift, group) for place, group in enumerate(groups)]
        figure.add_trace(_single_times(rows, name, PALETTE[number], last))
        figure.add_trace(
            _medians([(x, group.typical[name]) for x, group in rows], name, number, last)
        )
    figure = _styled(figure, 420)
    figure.update_xaxes(
        title="Concept signal Δcolour",
        tickvals=list(range(len(groups))),
        ticktext=[f"{group.signal:g}" for group in groups],
        range=[-0.5, len(groups) - 0.5],
    )
    step_axis(figure.update_yaxes, last, "Learning time, step", beyond=True)
    figure.update_layout(legend_traceorder="normal")
    caption = (
        f"Medians of {_runs(len(found.runs))} in all, with bootstrap 95 % intervals over runs, "
        f"seed 0; single runs small. Open triangles: not learned by step {last:,} (censored). "
        f"Rule: {found.rule}."
    )
    return captioned(figure, caption)


def _single_times(
    rows: Sequence[tuple[float, SignalResult]], name: str, color: str, last: int
) -> go.Scatter:
    points = [
        (x, time, run)
        for x, group in rows
        for time, run in zip(group.learned[name], group.runs, strict=True)
    ]
    return go.Scatter(
        x=[x + 0.012 for x, _, _ in points],
        y=[height(time.step, last) for _, time, _ in points],
        mode="markers",
        showlegend=False,
        opacity=0.5,
        marker={
            "color": color,
            "size": 6,
            "symbol": ["circle" if time.reached else "triangle-up-open" for _, time, _ in points],
        },
        customdata=[f"{run}: {time}" for _, time, run in points],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _medians(
    rows: Sequence[tuple[float, TypicalTime]], name: str, number: int, last: int
) -> go.Scatter:
    middle = [height(time.value, last) for _, time in rows]
    above = [height(time.high, last) - y for (_, time), y in zip(rows, middle, strict=True)]
    below = [y - height(time.low, last) for (_, time), y in zip(rows, middle, strict=True)]
    return go.Scatter(
        x=[x for x, _ in rows],
        y=middle,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "thickness": 1.5,
            "width": 0,
        },
        mode="lines+markers",
        name={"colour": "colour", "size": "size", "joint": "both"}[name],
        line={"color": PALETTE[number], "width": 2.25},
        marker={
            "color": PALETTE[number],
            "size": 10,
            "symbol": [
                SYMBOLS[number] if time.value is not None else "triangle-up-open"
                for _, time in rows
            ],
        },
        customdata=[str(time) for _, time in rows],
        hovertemplate="%{fullData.name}: %{customdata}<extra></extra>",
    )


def elicitation_curves(group: SignalResult, rule: LearningRule) -> go.Figure:
    """The held-out class over steps, prompted and under interventions (best of each grid); the lag
    shaded, random shifts grey.

    Example:
        >>> found = study_learning(runs)
        >>> elicitation_curves(found.signals[0], found.rule).show()
    """
    arms, last = [arm.arm for arm in group.arms], group.last
    figure = go.Figure()
    thin = {"color": FAINT, "width": 1}
    for run in group.runs:
        figure.add_trace(line(run.steps, run.naive["joint"], "", thin, hover=str(run)))
    for arm in reversed(group.arms):
        color, dash = arm_style(arm.arm, arms)
        banded(
            figure, arm.curve, arm_title(arm.arm), color, dash=dash, bold=arm.arm == main_arm(arms)
        )
    seen = {"color": GREY, "width": 2}
    figure.add_trace(line(group.seen.steps, group.seen.mean, "seen classes, prompted", seen))
    banded(figure, group.naive, "prompted (naive)", EARLY)
    if group.main is not None:
        shade_lag(figure, group.main.best.value, group.prompted.value, last)
    caption = (
        f"Means over {_runs(len(group.runs))} with bootstrap 95 % bands over runs, seed 0; "
        "interventions at the best of each grid. Grey dashed: random shifts of the same length and "
        "grid (control). Shaded: from where the linear shift works to where prompting does."
    )
    return captioned(over_steps(figure, last, rule, "Right on the held-out class"), caption)


def concept_curves(found: LanguageResult, name: str, rule: LearningRule) -> go.Figure:
    """A language model's concept over steps, prompted and steered with four kinds of directions
    (best factor); the lag shaded.

    Example:
        >>> concept_curves(study_language(run, LearningRule()), "place", LearningRule()).show()
    """
    track, concept = found.run.track, found.concept(name)
    figure = go.Figure()
    for arm in reversed(STEERED):
        if arm in concept.elicited:
            color, dash = ARM_STYLES[arm]
            bold = arm in ("own", "random")
            banded(figure, concept.curves[arm], arm_title(arm), color, dash=dash, bold=bold)
    banded(figure, concept.curves["naive"], "prompted (naive)", EARLY)
    if "own" in concept.elicited:
        made, prompted = concept.elicited["own"].at.step, concept.prompted.at.step
        shade_lag(figure, made, prompted, track.steps[-1])
    caption = (
        f"One run, n = {track.concept(name).naive.shape[1]} prompts; bootstrap 95 % bands over "
        "prompts, seed 0; steered at the best factor. Grey dashed: random directions (control). "
        "Shaded: from where its own direction works to where prompting does."
    )
    return captioned(
        over_steps(figure, track.steps[-1], rule, "Share of the right continuation"), caption
    )


def birth_chart(found: LanguageResult) -> go.Figure:
    """Features as bars from birth to death, the earliest first; detectors of concepts in colour,
    with a cross where the concept was learned.

    Example:
        >>> birth_chart(study_language(run, LearningRule())).show()
    """
    run, history = found.run, found.run.history
    assert history is not None
    steps = history.steps
    order = sorted(history.chains, key=lambda chain: (chain.first, -chain.last))
    own = {
        id(feature.chain): feature.concept for feature in run.features if feature.chain is not None
    }
    figure = go.Figure()
    bars = [
        (row, chain, steps[min(chain.last + 1, len(steps) - 1)]) for row, chain in enumerate(order)
    ]
    figure.add_trace(
        _bars([(row, steps[chain.first], end) for row, chain, end in bars if id(chain) not in own])
    )
    for number, (row, chain, end) in enumerate(bar for bar in bars if id(bar[1]) in own):
        color, name = PALETTE[number % len(PALETTE)], as_label(own[id(chain)])
        figure.add_trace(
            go.Scatter(
                x=[math.sqrt(steps[chain.first]), math.sqrt(end)],
                y=[row, row],
                mode="lines+markers",
                name=name,
                line={"color": color, "width": 5},
                marker={"size": 8},
                text=f"{name}: from step {steps[chain.first]:,}",
                hoverinfo="text",
            )
        )
        learned = found.concept(own[id(chain)]).prompted.at
        if learned.step is not None:
            figure.add_trace(
                go.Scatter(
                    x=[math.sqrt(learned.step)],
                    y=[row],
                    mode="markers",
                    showlegend=False,
                    marker={"symbol": "x", "size": 10, "color": color},
                    text=f"{name}: prompted, from step {learned.step:,.0f}",
                    hoverinfo="text",
                )
            )
    figure = _styled(figure, 120 + 5 * len(order))
    step_axis(figure.update_xaxes, steps[-1], "Training step")
    figure.update_yaxes(
        title="Features, by birth", range=[len(order), -1], showgrid=False, showticklabels=False
    )
    figure.update_layout(legend_traceorder="normal")
    return captioned(
        figure,
        f"One run, {len(order)} features; in colour those that detect a concept; cross: where "
        "it came when prompted.",
    )


def _bars(rows: Sequence[tuple[int, int, int]]) -> go.Scatter:
    """Lines `(row, first step, last step)` as one trace."""
    x = [value for _, start, end in rows for value in (math.sqrt(start), math.sqrt(end), None)]
    return go.Scatter(
        x=x,
        y=[value for row, _, _ in rows for value in (row, row, None)],
        mode="lines",
        name="features",
        line={"color": GREY, "width": 2},
        opacity=0.75,
        hoverinfo="skip",
    )


def representation(track: LanguageTrack) -> go.Figure:
    """Similarity to the last checkpoint's representation: CKA, relative, and variance explained
    with a rotation, without, and with a random one.

    Example:
        >>> representation(run.track).show()
    """
    curves: Mapping[str, Sequence[float]] = {
        "CKA with the last": track.cka.tolist(),
        "relative representations": track.relative.tolist(),
        "explained by a rotation": [score.value for score in track.transport],
        "explained without one": [score.value for score in track.unmoved],
    }
    figure = go.Figure()
    for number, (title, values) in enumerate(curves.items()):
        style: dict[str, object] = {"color": PALETTE[number], "width": 2.25}
        figure.add_trace(line(track.steps, np.array(values), title, style))
    control = np.array([score.control or 0.0 for score in track.transport])
    dashed = {"color": GREY, "width": 1.5, "dash": "dash"}
    figure.add_trace(line(track.steps, control, "explained by a random rotation", dashed))
    figure = _styled(figure, 380)
    step_axis(figure.update_xaxes, track.steps[-1], "Training step")
    figure.update_yaxes(
        title="Likeness (1: the same)",
        range=[min(-0.05, min(curves["explained without one"])) - 0.02, 1.05],
    )
    figure.update_layout(legend_traceorder="normal")
    n = track.transport[0].n
    return captioned(
        figure,
        f"One run; variance explained on n = {n:,} held-out tokens. Grey dashed: a random "
        "rotation (control).",
    )
