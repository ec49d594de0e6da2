"""Figures of causal graphs: the graph, its faithfulness, and predicted against measured effects."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int

from interp.causal.checks.faithfulness import Faithfulness
from interp.causal.checks.prediction_check import PredictionCheck
from interp.causal.graph.graph import CausalGraph
from interp.core import Score
from interp.core.display import layout
from interp.report.figures.captions import as_label, captioned, interval_words
from interp.report.figures.features import GREY, PALETTE, SYMBOLS, _styled, score_bars

CARRIES, AGAINST = PALETTE[0], PALETTE[1]
ROW = 34
"""Pixels of a row of the graph."""

THINNEST, WIDEST = 0.7, 9.0
BOW = 0.45
"""Distance, in rows, of edges between the same two parts."""


def path_graph(
    graph: CausalGraph, count: int = 60, *, measured: PredictionCheck | None = None, seed: int = 0
) -> go.Figure:
    """The strongest edges: layers from left to right, width by |effect|, colour by sign; hover text
    has effect, interval, n and value.

    Where a method chooses edges, only these are drawn. `measured` adds the effects by exact
    patching to the hover text.

    Example:
        >>> path_graph(graph, 40).show()
    """
    numbers = shown_edges(graph, count)
    layers, ways = _parts(graph, numbers)
    strength = np.abs(graph.effects[numbers]).astype(float)
    height = layout.rows(
        layers,
        [way for group in ways for way in group],
        np.repeat(strength, [len(group) for group in ways]),
    )
    places = {name: (x, float(height[name])) for name, x in layout.columns(layers).items()}
    figure = go.Figure()
    top = strength.max(initial=0.0) or 1.0
    lines = _lines(ways, places)
    for place, x, y in reversed(lines):
        share = strength[place] / top
        color = CARRIES if _carries(graph, int(numbers[place])) else AGAINST
        line = {"color": color, "width": THINNEST + (WIDEST - THINNEST) * share}
        figure.add_trace(
            go.Scatter(
                x=x, y=y, mode="lines", line=line, opacity=0.35 + 0.5 * share, hoverinfo="skip"
            )
        )
    figure.add_trace(_hover(lines, _hover_texts(graph, numbers, measured, seed)))
    figure.add_trace(_names(places))
    levels = list(height.values()) or [0]
    caption = (
        f"The {len(numbers)} strongest of {len(graph.edges):,} edges by {graph.method}, replaced "
        f"by value {graph.value}; n = {len(graph.per_example)} examples; hover: bootstrap 95 % "
        f"interval, seed {seed}. Controls (random graphs) are in the faithfulness curve."
    )
    return captioned(_framed(figure, min(levels), max(levels), top), caption)


def shown_edges(graph: CausalGraph, count: int) -> Int[np.ndarray, " edge"]:
    """The numbers of the strongest edges, of those the method kept, with an effect."""
    order = graph.strongest(len(graph.edges))
    drawn = np.abs(graph.effects[order]) > 0
    if graph.kept is not None:
        drawn &= graph.kept[order]
    return order[drawn][:count]


def faithfulness_curve(judged: Sequence[Faithfulness]) -> go.Figure:
    """Faithfulness of the strongest edges by method; random graphs (the first's) as a grey band.

    Example:
        >>> faithfulness_curve([faithfulness(wiring, examples, metric, graph)]).show()
    """
    figure = go.Figure()
    first = judged[0]
    x = 100 * first.fractions[first.fractions > 0]
    _band(figure, x, _above_zero(first, first.random_curve))
    for number, item in enumerate(judged):
        scores = _above_zero(item, item.curve)
        figure.add_trace(
            go.Scatter(
                x=(100 * item.fractions[item.fractions > 0]).tolist(),
                y=[score.value for score in scores],
                error_y=score_bars(scores),
                customdata=[_interval(score) for score in scores],
                mode="lines+markers",
                name=as_label(item.method),
                line={"color": PALETTE[number % len(PALETTE)], "width": 2.25},
                marker={"size": 7, "symbol": SYMBOLS[number % len(SYMBOLS)]},
                hovertemplate="%{fullData.name}<br>strongest %{x:g} %: %{y:.3f} "
                "%{customdata}<extra></extra>",
            )
        )
    for level in (0, 1):
        figure.add_hline(level, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(
        type="log",
        title="Edges kept, % of all",
        tickvals=list(x),
        ticktext=[f"{share:g}" for share in x],
    )
    figure.update_yaxes(title="f: 0 all replaced, 1 nothing")
    shown = [score for item in judged for score in item.curve]
    caption = (
        f"Grey band: {first.random} random graphs with as many edges per layer (control); "
        f"{interval_words(shown)} (examples)."
    )
    return captioned(_styled(figure, 420).update_layout(legend_traceorder="normal"), caption)


def _above_zero(judged: Faithfulness, curve: Sequence[Score]) -> list[Score]:
    """A curve without its start, where no edge is kept: the axis is logarithmic."""
    return [score for share, score in zip(judged.fractions, curve, strict=True) if share > 0]


def predicted_measured(found: PredictionCheck) -> go.Figure:
    """Each edge's predicted effect against that by exact patching, with intervals; dotted: equal.

    Example:
        >>> predicted_measured(prediction_check(wiring, examples, metric, graph)).show()
    """
    figure = go.Figure()
    for number, (own, title) in enumerate(
        ((~found.is_top, "random others"), (found.is_top, "strongest"))
    ):
        rows = np.flatnonzero(own)
        scores = [found.measured[row] for row in rows]
        figure.add_trace(
            go.Scatter(
                x=found.predicted[rows],
                y=[score.value for score in scores],
                error_y=score_bars(scores),
                customdata=[
                    [as_label(str(found.names[row])), _interval(found.measured[row])]
                    for row in rows
                ],
                mode="markers",
                name=f"{title} ({len(rows)})",
                marker={
                    "color": PALETTE[1 - number],
                    "size": 8,
                    "symbol": SYMBOLS[1 - number],
                    "opacity": 0.8,
                },
                hovertemplate=(
                    "%{customdata[0]}<br>predicted %{x:.4g}<br>measured %{y:.4g} "
                    "%{customdata[1]}<extra></extra>"
                ),
            )
        )
    ends = [float(found.predicted.min(initial=0)), float(found.predicted.max(initial=0))]
    line = {"color": GREY, "width": 1, "dash": "dot"}
    figure.add_trace(
        go.Scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    )
    figure.update_xaxes(title="Predicted effect")
    figure.update_yaxes(title="Measured effect")
    words = interval_words(found.measured)
    caption = (
        f"Every point is an edge replaced on its own (value {found.value}); {words} (examples). "
        "Control: as many random edges."
    )
    return captioned(_styled(figure, 440), caption)


def _parts(
    graph: CausalGraph, numbers: Int[np.ndarray, " edge"]
) -> tuple[dict[str, int], list[list[tuple[str, str]]]]:
    """The layer of every part drawn, and each edge's pairs of parts.

    A key shared by heads leads to those of them that send a drawn edge, or else to the key itself.
    """
    own = {node.name: node.layer for node in graph.nodes}
    sending = {graph.nodes[source].name for source in graph.edges[numbers, 0]}
    layers: dict[str, int] = {}
    ways = []
    for source, number in graph.edges[numbers]:
        one, port = graph.nodes[source], graph.ports[number]
        alone = port.nodes if len(port.nodes) == 1 else (port.name,)
        targets = [name for name in port.nodes if name in sending] or alone
        layers |= {one.name: one.layer} | {name: own.get(name, port.layer) for name in targets}
        ways.append([(one.name, name) for name in targets])
    return layers, ways


def _carries(graph: CausalGraph, number: int) -> bool:
    """Whether replacing the edge moves the metric as replacing everything does."""
    return bool(graph.effects[number] * (graph.replaced.mean() - graph.clean.mean()) > 0)


def _lines(
    ways: Sequence[Sequence[tuple[str, str]]], places: dict[str, tuple[float, float]]
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Every line with the place of its edge; edges between the same parts (query, key, value) are
    bowed apart.
    """
    flat = [(place, way) for place, group in enumerate(ways) for way in group]
    count = Counter(way for _, way in flat)
    drawn: Counter[tuple[str, str]] = Counter()
    found = []
    for place, way in flat:
        bow = BOW * (drawn[way] - (count[way] - 1) / 2)
        drawn[way] += 1
        found.append((place, *layout.curve(places[way[0]], places[way[1]], bow)))
    return found


def _hover_texts(
    graph: CausalGraph,
    numbers: Int[np.ndarray, " edge"],
    measured: PredictionCheck | None,
    seed: int,
) -> list[str]:
    found = measured_effects(measured)
    texts = []
    for number, score in zip(numbers.tolist(), graph.scores(numbers, seed=seed), strict=True):
        text = (
            f"<b>{as_label(str(graph.edge(number)))}</b><br>effect {score.value:+.4g} "
            f"{_interval(score)}, n = {score.n}<br>{graph.method}, value {graph.value}"
        )
        if number in found:
            text += f"<br>measured {found[number].value:+.4g} {_interval(found[number])}"
        texts.append(text)
    return texts


def measured_effects(check: PredictionCheck | None) -> dict[int, Score]:
    """Measured effects by the edge's number."""
    return {} if check is None else dict(zip(check.numbers.tolist(), check.measured, strict=True))


def _hover(lines: Sequence[tuple[int, np.ndarray, np.ndarray]], texts: Sequence[str]) -> go.Scatter:
    """Invisible points along every edge: a line itself reacts to hovering only at its ends."""
    inner = slice(2, -2)
    return go.Scatter(
        x=np.concatenate([x[inner] for _, x, _ in lines]) if lines else [],
        y=np.concatenate([y[inner] for _, _, y in lines]) if lines else [],
        text=[texts[place] for place, x, _ in lines for _ in x[inner]],
        mode="markers",
        marker={"size": 9, "color": GREY, "opacity": 0},
        hovertemplate="%{text}<extra></extra>",
    )


def _names(places: dict[str, tuple[float, float]]) -> go.Scatter:
    return go.Scatter(
        x=[x for x, _ in places.values()],
        y=[y for _, y in places.values()],
        text=[as_label(name) for name in places],
        mode="markers+text",
        textposition="top center",
        textfont={"size": 11, "shadow": "auto"},
        cliponaxis=False,
        marker={"size": 8, "color": GREY, "line": {"color": "rgba(255,255,255,.7)", "width": 1}},
        hovertemplate="%{text}<extra></extra>",
    )


def _framed(figure: go.Figure, lowest: int, highest: int, top: float) -> go.Figure:
    styled = _styled(figure, 110 + ROW * max(3, highest - lowest + 1))
    styled.update_xaxes(visible=False, range=[-0.045, 1.045], automargin=False)
    styled.update_yaxes(visible=False, range=[lowest - 0.6, highest + 0.9], automargin=False)
    swatch = "<span style='color:{}'>━━</span> {}"
    text = (
        f"{swatch.format(CARRIES, 'carries the behaviour')}   "
        f"{swatch.format(AGAINST, 'works against it')}   widest: |effect| {top:.3g}"
    )
    styled.add_annotation(
        text=text,
        x=0,
        y=0,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="top",
        yshift=-12,
        showarrow=False,
    )
    return styled.update_layout(
        showlegend=False, margin={"l": 24, "r": 24, "t": 12, "b": 44}, hovermode="closest"
    )


def _band(figure: go.Figure, x: np.ndarray, scores: Sequence[Score]) -> None:
    low, high = [score.low for score in scores], [score.high for score in scores]
    plain = {
        "x": x,
        "mode": "lines",
        "line": {"color": GREY, "width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    figure.add_trace(go.Scatter(y=low, **plain))
    figure.add_trace(go.Scatter(y=high, fill="tonexty", fillcolor="rgba(134,139,148,.22)", **plain))
    figure.add_trace(
        go.Scatter(
            x=x,
            y=[score.value for score in scores],
            customdata=[_interval(score) for score in scores],
            mode="lines",
            name="random graphs",
            line={"color": GREY, "width": 1.5},
            hovertemplate="random, %{x:g} %: %{y:.3f} %{customdata}<extra></extra>",
        )
    )


def _interval(score: Score) -> str:
    return f"[{score.low:.4g}, {score.high:.4g}]"
