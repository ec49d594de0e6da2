"""Captions inside figures, so that n, seed and control travel with them; pages replace them."""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from interp.core import Score

WIDTH = 92
LINE = 17
"""Pixels of a caption line."""


def as_label(text: str) -> str:
    """Escape a label: plotly reads some html tags, and a corpus may hold them."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def captioned(figure: go.Figure, caption: str) -> go.Figure:
    """The figure with a caption above it, wrapped and left-aligned; `figure.layout.meta["caption"]`
    holds its text.

    Example:
        >>> captioned(
        ...     figure,
        ...     "Mean over 5 concepts; bars are bootstrap 95 % intervals, seed 0; grey: controls.",
        ... )
    """
    lines = textwrap.wrap(caption, WIDTH)
    room = LINE * len(lines) + 8
    top = figure.layout.margin.t or 0
    text = "<br>".join(as_label(line) for line in lines)
    height = figure.layout.height + room
    place = {
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1 - 20 / height,
        "yref": "container",
        "yanchor": "top",
        "pad": {"l": 8},
    }
    return figure.update_layout(
        title={"text": text, "font": {"size": 12}, "automargin": False, **place},
        margin={"t": top + room},
        height=height,
        meta={"caption": caption, "room": room},
    )


def for_page(figure: go.Figure) -> go.Figure:
    """A copy without its caption and the room for it."""
    meta = figure.layout.meta
    if not isinstance(meta, dict) or "room" not in meta:
        return go.Figure(figure)
    values = figure.to_dict()
    layout = {
        name: value for name, value in values["layout"].items() if name not in ("title", "meta")
    }
    layout["margin"] = {**layout["margin"], "t": layout["margin"]["t"] - meta["room"]}
    return go.Figure({**values, "layout": {**layout, "height": layout["height"] - meta["room"]}})


def interval_words(scores: Sequence[Score]) -> str:
    """The kind of some scores' intervals, their n and seeds.

    Example:
        >>> interval_words([Score(0.5, 0.4, 0.6, n=5, seed=0)])
        'bars: bootstrap 95% interval, n = 5, seed 0'
    """
    known = [score for score in scores if not math.isnan(score.value)]
    if not known:
        return "nothing was measured"
    kinds = sorted({score.interval for score in known})
    seeds = sorted({score.seed for score in known})
    counts = sorted({score.n for score in known})
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"bars: {' or '.join(kinds)} interval, n = {n}, seed{'s' if len(seeds) > 1 else ''} "
        f"{', '.join(map(str, seeds))}"
    )


def json_for_page(figures: Mapping[str, go.Figure]) -> dict[str, Any]:
    """Figures as json-ready values, without their captions.

    Example:
        >>> embed_json(json_for_page({"dose": dose_response(data)}))
    """
    return {name: json.loads(for_page(figure).to_json()) for name, figure in figures.items()}


def page_heights(figures: Mapping[str, go.Figure]) -> dict[str, int]:
    """Each figure's height without its caption, in pixels."""
    return {name: for_page(figure).layout.height for name, figure in figures.items()}
