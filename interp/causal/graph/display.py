"""A causal graph in a notebook: its strongest edges, drawn from left to right and as a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from interp.core.display import layout
from interp.core.display.marks import ACCENT, SECOND, drawing, mark, words
from interp.core.display.markup import (
    Html,
    block,
    element,
    facts,
    foreign,
    numeral,
    scrolling,
    table,
)
from interp.core.display.scores import axis_note, score_cells

if TYPE_CHECKING:
    from interp.causal.graph.graph import CausalGraph

DRAWN, LISTED = 12, 10
ROW, LETTER, GAP = 26.0, 6.4, 30.0
Link = tuple[str, str, float]
Place = tuple[float, float, float]
"""A part's column and row in pixels, and half the width of its name."""


def shown_graph(graph: "CausalGraph") -> Html:
    """How the graph was measured, a drawing of its strongest edges, and a table with intervals over
    examples.

    Cost: a bootstrap of ten edges.
    """
    listed = graph.strongest(LISTED)
    scores = graph.scores(listed)
    rows = [
        (foreign(graph.edge(int(edge))), cell)
        for edge, cell in zip(listed, score_cells(scores, signed=True), strict=True)
    ]
    title = (
        f"The {len(rows)} strongest of {len(graph.edges):,} edges: mean effect on the metric "
        f"over {len(graph.per_example):,} examples"
    )
    body = table(("edge", "effect"), rows, caption=f"{title} ({axis_note(scores)})")
    return block(
        "Causal graph",
        _about(graph),
        _drawn(graph),
        body,
        about=f"{len(graph.nodes):,} parts, {len(graph.edges):,} edges",
    )


def _about(graph: "CausalGraph") -> Html:
    kept = (
        None if graph.kept is None else f"{int(graph.kept.sum()):,} of {len(graph.edges):,} edges"
    )
    return facts(
        [
            ("method", graph.method),
            ("replaced by", graph.value),
            ("metric", foreign(graph.metric)),
            ("n", f"{len(graph.per_example):,}"),
            ("metric as it is", numeral(float(graph.clean.mean()))),
            ("with everything replaced", numeral(float(graph.replaced.mean()))),
            ("kept", kept),
            ("model", graph.provenance.model and foreign(graph.provenance.model)),
        ]
    )


def _drawn(graph: "CausalGraph") -> Html:
    links, layers = _links(graph)
    if not links:
        return Html("")
    places = _places(links, layers)
    width = max(x + half for x, _, half in places.values()) + 8
    height = max(y for _, y, _ in places.values()) + 0.9 * ROW
    top = max(abs(effect) for _, _, effect in links) or 1.0
    names = [words(x, y + 4, name, anchor="middle") for name, (x, y, _) in places.items()]
    lines = [
        _line(places[source], places[target], effect / top) for source, target, effect in links
    ]
    label = "; ".join(
        f"{source} to {target} {numeral(effect, signed=True)}" for source, target, effect in links
    )
    legend = (
        "Left to right by depth; width: |effect|; orange: the metric rises without the "
        "contribution, blue: it falls"
    )
    return Html(
        scrolling(drawing(width, height, label, *lines, *names), "strongest edges")
        + element("p", legend, kind="muted")
    )


def _links(graph: "CausalGraph") -> tuple[list[Link], dict[str, int]]:
    """The strongest edges, the weakest first so that the strongest lies on top, and the parts'
    layers.
    """
    depth = {node.name: node.layer for node in graph.nodes}
    links, layers = list[Link](), dict[str, int]()
    for edge in reversed(graph.strongest(DRAWN).tolist()):
        source, port = graph.edges[edge]
        start, ports = graph.nodes[source], graph.ports[port]
        # Only the first: a key shared by a dozen heads would hide everything else.
        for target in ports.nodes[:1]:
            links.append((start.name, target, float(graph.effects[edge])))
            layers |= {start.name: start.layer, target: depth.get(target, ports.layer)}
    return links, layers


def _places(links: Sequence[Link], layers: Mapping[str, int]) -> dict[str, Place]:
    """Columns as wide as their longest name, rows as on the page of a graph."""
    half = {name: LETTER * len(name) / 2 + 4 for name in layers}
    across, left = dict[str, float](), 8.0
    for layer in sorted(set(layers.values())):
        column = [name for name, own in layers.items() if own == layer]
        widest = max(half[name] for name in column)
        across |= dict.fromkeys(column, left + widest)
        left += 2 * widest + GAP
    rows = layout.rows(
        layers,
        [(source, target) for source, target, _ in links],
        np.abs([effect for _, _, effect in links]),
        across,
    )
    top = min(rows.values())
    return {name: (across[name], ROW * (rows[name] - top + 0.9), half[name]) for name in layers}


def _line(start: Place, stop: Place, share: float) -> Html:
    """A curve between two names; longer ones bow more, away from the parts between."""
    x1, y1, x2, y2 = start[0] + start[2], start[1], stop[0] - stop[2], stop[1]
    bow = min(1.1 * ROW, max(0.0, x2 - x1 - 1.5 * GAP) / 8) * (-1 if y1 <= y2 else 1)
    path = (
        f"M{x1:.0f} {y1:.0f}C{x1 + GAP:.0f} {y1 + bow:.0f} {x2 - GAP:.0f} {y2 + bow:.0f} "
        f"{x2:.0f} {y2:.0f}"
    )
    look = {
        "fill": "none",
        "stroke": ACCENT if share > 0 else SECOND,
        "stroke-width": 1 + 4 * abs(share),
        "stroke-opacity": 0.6,
    }
    return mark("path", {"d": path, **look})
