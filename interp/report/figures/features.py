"""Figures of the page of features: dose-response, detection, reconstruction, concept trees."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from interp.core import InputError, Score
from interp.features.tree import ConceptTree
from interp.report.data.records import Best, Concept, Family, Point, Report
from interp.report.figures.captions import as_label, captioned, interval_words
from interp.report.tables.features import control_methods, interval_cell, method_titles

# Found by search: contrast of at least 3:1 on white and near-black, and distinct under protanopia,
# deuteranopia and tritanopia.
PALETTE = ("#5f8cd6", "#e7632b", "#137f50", "#c02fa6", "#8d55f4")
GREY = "#868b94"
INK = "#74787f"
"""Text legible on a notebook's white (4.4:1) and near-black (4.2:1); a page replaces it."""

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
ROUTE_STYLE = {"companion": ("solid", "circle"), "native": ("dash", "diamond-open")}
FONT = (
    "Inter, ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, "
    "sans-serif"
)


def plotly_source() -> str:
    """Plotly's script, which pages embed so that they need no network."""
    source: str = get_plotlyjs()
    return source


def method_colors(data: Report) -> dict[str, str]:
    """One colour per method, the same in every figure and on the page; controls are grey."""
    named = [item.method for item in data.methods]
    named += [item.method for item in data.detection.summary]
    return _colors(named, data.steering.families, control_methods(data))


def _colors(
    named: Sequence[str], families: Sequence[Family], controls: Set[str] = frozenset()
) -> dict[str, str]:
    grey = controls | {family.method for family in families if family.control}
    every = dict.fromkeys((*named, *(family.method for family in families)))
    methods = [name for name in every if name not in grey]
    return {
        name: PALETTE[number % len(PALETTE)] for number, name in enumerate(methods)
    } | dict.fromkeys(grey, GREY)


def dose_response(data: Report) -> go.Figure:
    """Mean steering score of each family against the measured strength, with intervals; controls in
    grey.

    Strength is the KL divergence in nats that steering causes on the next-token distribution, so
    families are compared at equal disturbance. No steering is a level line.

    Example:
        >>> dose_response(data).show()
    """
    steering = data.steering
    return family_curves(steering.families, steering.strengths_kl, method_colors(data))


def family_curves(
    families: Sequence[Family], strengths: Sequence[float], colors: Mapping[str, str] | None = None
) -> go.Figure:
    """`dose_response` of some families; `colors` by method, to agree with other figures."""
    colors = _colors((), families) if colors is None else colors
    strengths = sorted({kl for kl in strengths if kl > 0})
    families = sorted(families, key=_family_order)
    figure = go.Figure()
    for number, family in reversed(list(enumerate(families))):
        curve = [point for point in family.curve if not math.isnan(point.score.value)]
        color = GREY if family.control else colors[family.method]
        positive = [point for point in curve if point.kl > 0]
        shift = 1.01 ** (number - (len(families) - 1) / 2)
        if positive:
            figure.add_trace(_curve(family, positive, color, shift))
        elif curve and strengths:
            figure.add_trace(_level(family, curve[0].score, strengths))
    figure.update_xaxes(
        type="log",
        title="Measured strength, KL in nats",
        tickvals=strengths,
        ticktext=[f"{kl:g}" for kl in strengths],
    )
    figure.update_yaxes(title="Steering score (0 to 2)", rangemode="tozero")
    shown = [point.score for family in families if not family.control for point in family.curve]
    caption = (
        "Concept and fluency of steered texts (harmonic mean, mean over concepts) at equal "
        f"measured strength; {interval_words(shown)}. Grey: controls (random directions, no "
        "steering)."
    )
    return captioned(_styled(figure, 440), caption)


def detection(data: Report) -> go.Figure:
    """AUROC of each method's best feature for each concept, with intervals; the control in grey.

    Concepts are sorted by their best AUROC.

    Example:
        >>> detection(data).show()
    """
    concepts = sorted(data.detection.concepts, key=_best_auroc)
    titles, colors, controls = method_titles(data), method_colors(data), control_methods(data)
    names = dict.fromkeys(item.method for concept in concepts for item in concept.best)
    methods = sorted(names, key=lambda name: name not in controls)
    figure = go.Figure()
    for number, method in enumerate(methods):
        shift = 0.14 * (number - (len(methods) - 1) / 2)
        points = [
            (row + shift, concept.concept, item)
            for row, concept in enumerate(concepts)
            for item in concept.best
            if item.method == method and not math.isnan(item.auroc.value)
        ]
        symbol = "line-ns-open" if method in controls else SYMBOLS[number % len(SYMBOLS)]
        figure.add_trace(_dots(titles[method], points, colors[method], symbol))
    figure.update_yaxes(
        tickvals=list(range(len(concepts))),
        ticktext=[as_label(concept.concept) for concept in concepts],
        range=[-0.7, len(concepts) - 0.3],
    )
    lows = [item.auroc.low for item in data.detection.best if not math.isnan(item.auroc.low)]
    figure.update_xaxes(
        title="AUROC on held-out texts", range=[min([0.48, *lows]) - 0.02, 1.02], dtick=0.1
    )
    figure.add_vline(0.5, line={"color": GREY, "width": 1, "dash": "dot"})
    shown = [
        item.auroc for concept in concepts for item in concept.best if item.method not in controls
    ]
    caption = (
        "AUROC of the feature of each method that was chosen on other texts, for each concept; "
        f"{interval_words(shown)}. Grey: random directions through the same choice (control). "
        "Dotted: chance."
    )
    return captioned(_styled(figure, 150 + 24 * max(len(concepts), 4)), caption)


def reconstruction(data: Report) -> go.Figure:
    """Variance explained, with intervals, against features active per token, by method.

    Example:
        >>> reconstruction(data).show()
    """
    colors = method_colors(data)
    figure = go.Figure()
    for number, method in enumerate(data.methods):
        score = method.explained_variance
        if math.isnan(score.value):
            continue
        figure.add_trace(
            go.Scatter(
                x=[method.l0],
                y=[score.value],
                error_y=score_bars([score]),
                mode="markers",
                name=as_label(method.title),
                marker={
                    "color": colors[method.method],
                    "size": 11,
                    "symbol": SYMBOLS[number % len(SYMBOLS)],
                },
                hovertemplate=(
                    "%{fullData.name}<br>%{x:.1f} active per token<br>%{y:.3f} "
                    "explained<extra></extra>"
                ),
            )
        )
    figure.update_xaxes(title="Features active per token", rangemode="tozero")
    figure.update_yaxes(title="Variance explained", rangemode="tozero")
    shown = [method.explained_variance for method in data.methods]
    caption = (
        f"Held-out texts; {interval_words(shown)} (texts). Up and to the left is better; "
        "random directions are the control."
    )
    return captioned(_styled(figure, 320).update_layout(legend_traceorder="normal"), caption)


@dataclass(frozen=True)
class Way:
    """A way of steering: its row's label, its method (named `title`) and a score."""

    label: str
    method: str
    title: str
    score: Score | None


def ways_of_steering(ways: Sequence[Way], title: str, end: float) -> go.Figure:
    """A score of every way of steering: a row for each dictionary, route and place, a colour for
    each method. `end` is the axis' upper end.

    Example:
        >>> ways_of_steering(ways, "Steering score (0 to 2)", 2).show()
    """
    methods = list(dict.fromkeys(way.method for way in ways))
    labels = list(dict.fromkeys(way.label for way in ways))
    figure = go.Figure()
    for number, method in enumerate(methods):
        shift = 0.16 * ((len(methods) - 1) / 2 - number)
        own = [
            (labels.index(way.label) + shift, way, way.score)
            for way in ways
            if way.method == method and way.score is not None and not math.isnan(way.score.value)
        ]
        figure.add_trace(_way_dots(own, number))
    count = len(labels)
    figure.update_yaxes(
        tickvals=list(range(count)),
        ticktext=[as_label(label) for label in labels],
        range=[count - 0.4, -0.6],
    )
    figure.update_xaxes(title=title, range=[0, end])
    shown = [way.score for way in ways if way.score is not None]
    caption = (
        f"Mean over concepts; {interval_words(shown)}. Random directions went through the "
        "same procedure (control: best of them)."
    )
    return captioned(
        _styled(figure, 150 + 46 * max(count, 3)).update_layout(legend_traceorder="normal"), caption
    )


def _way_dots(ways: Sequence[tuple[float, Way, Score]], number: int) -> go.Scatter:
    scores = [score for _, _, score in ways]
    return go.Scatter(
        x=[score.value for score in scores],
        y=[row for row, _, _ in ways],
        error_x=score_bars(scores),
        customdata=[[way.label, interval_cell(score)] for _, way, score in ways],
        mode="markers",
        name=as_label(ways[0][1].title) if ways else "",
        marker={
            "color": PALETTE[number % len(PALETTE)],
            "size": 9,
            "symbol": SYMBOLS[number % len(SYMBOLS)],
        },
        hovertemplate=(
            "%{fullData.name}<br>%{customdata[0]}<br>%{x:.2f} %{customdata[1]}<extra></extra>"
        ),
    )


def concept_tree(
    tree: ConceptTree,
    level: int,
    feature: int,
    labels: Mapping[tuple[int, int], str] = MappingProxyType({}),
) -> go.Figure:
    """The features below a broad one, level by level; a branch's width is its weight as a share of
    the parent's largest.

    `labels[level, feature]` name features; others show their number. A feature with several parents
    is drawn under each.

    Example:
        >>> concept_tree(interp.features.tree.concept_tree(hierarchy), 3, 12).show()
    """
    if not (0 <= level < len(tree.sizes) and 0 <= feature < tree.sizes[level]):
        raise InputError(
            f"feature {feature} of level {level} does not exist; the tree has levels of "
            f"{tree.sizes} features, the finest first"
        )
    nodes: list[tuple[int, int, float]] = []
    figure = go.Figure()
    leaves = _grow(tree, level, feature, 0, nodes, figure)[1]
    figure.add_trace(
        go.Scatter(
            x=[at for at, _, _ in nodes],
            y=[height for _, _, height in nodes],
            text=[as_label(labels.get((at, number), "")) or str(number) for at, number, _ in nodes],
            customdata=[[at, number] for at, number, _ in nodes],
            mode="markers+text",
            textposition="middle right",
            cliponaxis=False,
            marker={"color": PALETTE[0], "size": 9},
            hovertemplate=(
                "level %{customdata[0]}, feature %{customdata[1]}<br>%{text}<extra></extra>"
            ),
        )
    )
    figure.update_xaxes(
        title="Level", tickvals=list(range(level + 1)), range=[level + 0.1, -0.9], showgrid=False
    )
    figure = _styled(figure, 120 + 26 * max(leaves, 4)).update_layout(showlegend=False)
    caption = (
        f"{len(tree.sizes)} levels of {tree.sizes} features. Widths are weights of one "
        "factorisation, not scores."
    )
    return captioned(figure.update_yaxes(visible=False), caption)


def _grow(
    tree: ConceptTree,
    level: int,
    feature: int,
    below: int,
    nodes: list[tuple[int, int, float]],
    figure: go.Figure,
) -> tuple[float, int]:
    """Draw a feature amid its children, which come first; gives its height and the rows used."""
    heights, branches = [], tree.branches_of(level, feature)
    for branch in branches:
        height, below = _grow(tree, level - 1, branch.child, below, nodes, figure)
        heights.append(height)
    own, below = (sum(heights) / len(heights), below) if heights else (float(below), below + 1)
    for branch, height in zip(branches, heights, strict=True):
        line = {"color": GREY, "width": 0.5 + 3 * branch.share}
        figure.add_trace(
            go.Scatter(
                x=[level, level - 1], y=[own, height], mode="lines", line=line, hoverinfo="skip"
            )
        )
    nodes.append((level, feature, own))
    return own, below


def _family_order(family: Family) -> tuple[bool, float]:
    """Controls last, the highest score first."""
    value = family.report.value
    return family.control, 1.0 if math.isnan(value) else -value


def _level(family: Family, score: Score, strengths: Sequence[float]) -> go.Scatter:
    return go.Scatter(
        x=[strengths[0], strengths[-1]],
        y=[score.value, score.value],
        mode="lines",
        name=as_label(family.title),
        line={"color": GREY, "width": 1.25, "dash": "dot"},
        hovertemplate="%{fullData.name}: %{y:.2f}<extra></extra>",
    )


def _curve(family: Family, curve: Sequence[Point], color: str, shift: float) -> go.Scatter:
    dash, symbol = ROUTE_STYLE.get(family.route, ("solid", "square"))
    return go.Scatter(
        x=[point.kl * shift for point in curve],
        y=[point.score.value for point in curve],
        error_y=score_bars([point.score for point in curve]),
        customdata=[[point.kl, interval_cell(point.score)] for point in curve],
        mode="lines+markers",
        name=as_label(family.title),
        line={"color": color, "width": 1.5 if family.control else 2.25, "dash": dash},
        marker={"color": color, "size": 7, "symbol": symbol},
        hovertemplate=(
            "%{fullData.name}<br>KL %{customdata[0]:g}: %{y:.2f} %{customdata[1]}<extra></extra>"
        ),
    )


def _dots(
    title: str, points: Sequence[tuple[float, str, Best]], color: str, symbol: str
) -> go.Scatter:
    scores = [item.auroc for _, _, item in points]
    return go.Scatter(
        x=[score.value for score in scores],
        y=[row for row, _, _ in points],
        error_x=score_bars(scores),
        customdata=[
            [
                as_label(concept),
                interval_cell(item.auroc),
                "" if item.feature is None else f", feature {item.feature}",
            ]
            for _, concept, item in points
        ],
        mode="markers",
        name=as_label(title),
        marker={"color": color, "size": 8, "symbol": symbol},
        hovertemplate=(
            "%{customdata[0]}<br>%{fullData.name}%{customdata[2]}: %{x:.3f} "
            "%{customdata[1]}<extra></extra>"
        ),
    )


def score_bars(scores: Sequence[Score]) -> dict[str, object]:
    """Error bars of scores' intervals, of length 0 where there is none."""

    def reach(score: Score, end: float) -> float:
        return abs(end - score.value) if math.isfinite(end) else 0.0

    return {
        "type": "data",
        "symmetric": False,
        "array": [reach(score, score.high) for score in scores],
        "arrayminus": [reach(score, score.low) for score in scores],
        "thickness": 1,
        "width": 0,
    }


def clear(color: str, opacity: float) -> str:
    """A colour `#rrggbb` made translucent."""
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _best_auroc(concept: Concept) -> float:
    found = [item.auroc.value for item in concept.best if item.feature is not None]
    return max((value for value in found if not math.isnan(value)), default=0.0)


def _styled(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 16, "t": 16, "b": 56},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"align": "left"},
        legend={
            "orientation": "h",
            "y": -0.02,
            "yref": "container",
            "yanchor": "bottom",
            "x": 0,
            "traceorder": "reversed",
        },
    )
    axis = {
        "gridcolor": "rgba(134,139,148,.22)",
        "zeroline": False,
        "linecolor": "rgba(134,139,148,.5)",
        "automargin": True,
        "ticks": "",
    }
    figure.update_xaxes(**axis, title_font_size=13)
    figure.update_yaxes(**axis, title_font_size=13)
    return figure
