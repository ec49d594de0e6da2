"""Small drawings for notebooks: an interval, a bar, a line chart; svg has a label with its numbers
for screen readers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from interp.core.display.markup import Html, Number, element, estimate, numeral

ACCENT = "#c2660c"
SECOND = "#3b82c4"
"""Both have a contrast of at least 3 : 1 to white and to #111."""

WIDTH, HEIGHT = 120.0, 14.0
FAINT = {"stroke": "currentColor", "stroke-opacity": 0.35}


def mark(name: str, attributes: Mapping[str, object], *content: object) -> Html:
    """One svg element; fractions have four digits."""
    written = {
        key: f"{value:.4g}" if isinstance(value, float) else value
        for key, value in attributes.items()
    }
    return element(name, *content, attributes=written)


def drawing(width: Number, height: Number, label: str, *parts: Html) -> Html:
    """An inline svg with a label for screen readers, in the colour of the text."""
    size = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return element("svg", *parts, attributes={"role": "img", "aria-label": label, **size})


def words(x: Number, y: Number, text: str, *, anchor: str = "start", size: int = 11) -> Html:
    """Text in a drawing, in the page's own colour."""
    place = {"x": x, "y": y, "text-anchor": anchor}
    return mark("text", {**place, "font-size": size, "fill": "currentColor"}, text)


def line(x1: Number, y1: Number, x2: Number, y2: Number, attributes: Mapping[str, object]) -> Html:
    """A straight line in a drawing."""
    return mark("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, **attributes})


def ends_of(values: Iterable[Number | None]) -> tuple[float, float]:
    """The ends of an axis for some numbers: 0 to 1 if all lie there, else round numbers around them
    and 0.

    Example:
        >>> ends_of([0.4, 1.72]), ends_of([-0.031, 0.4])
        ((0.0, 2.0), (-0.1, 0.4))
    """
    finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(0.0, *finite, 0.0), max(0.0, *finite, 0.0)
    if low == high or (low == 0 and 0.1 < high <= 1):
        return 0.0, 1.0
    step = 10.0 ** math.floor(math.log10(max(-low, high)))
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def interval(
    value: Number,
    low: Number,
    high: Number,
    *,
    control: Number | None = None,
    ends: tuple[Number, Number] | None = None,
) -> Html:
    """A number on its axis with its interval, and its control as a tick; empty if it is undefined.

    The ends of the axis stand beside it, except where `ends` sets them, as for the rows of a table.

    Example:
        >>> interval(0.91, 0.88, 0.94, control=0.52)
    """
    if not math.isfinite(value):
        return Html("")
    first, last = ends or ends_of([value, low, high, control])

    def place(at: Number) -> float:
        return 4 + (WIDTH - 8) * (min(max(at, first), last) - first) / (last - first)

    label = f"{estimate(value, low, high)} on an axis from {end(first)} to {end(last)}"
    parts = [line(4, 7, WIDTH - 4, 7, FAINT)]
    if first < 0 < last:
        parts.append(line(place(0), 3, place(0), 11, FAINT))
    if math.isfinite(low) and math.isfinite(high):
        thick = {"stroke": ACCENT, "stroke-width": 7, "stroke-opacity": 0.5}
        parts.append(line(place(low), 7, place(high), 7, thick))
    if control is not None and math.isfinite(control):
        label += f", control {numeral(control)}"
        tick = {"stroke": "currentColor", "stroke-width": 1.5}
        parts.append(line(place(control), 1, place(control), 13, tick))
    parts.append(mark("circle", {"cx": place(value), "cy": 7, "r": 2.8, "fill": ACCENT}))
    drawn = drawing(WIDTH, HEIGHT, label, *parts)
    return drawn if ends is not None else Html(f"{_edge(first)} {drawn} {_edge(last)}")


def end(value: Number) -> str:
    """The end of an axis as text, with as few digits as it has."""
    return f"{value:,g}".replace("-", "−")


def _edge(value: Number) -> Html:
    return element("span", end(value), kind="muted")


def bar(share: Number, *, width: int = 60) -> Html:
    """A bar for a share from 0 to 1; in an element of kind `less` it has the second colour."""
    style = f"width:{width * min(max(share, 0.0), 1.0):.0f}px"
    return element("i", kind="bar", attributes={"style": style})


def curve(
    xs: Sequence[Number],
    ys: Sequence[Number],
    *,
    title: str,
    x_title: str,
    y_title: str,
    ends: tuple[Number, Number] = (0, 1),
    at: Number | None = None,
) -> Html:
    """A small line chart of at most 80 points, ends included; a dashed line marks `at` on the x
    axis.

    Example:
        >>> titles = {"title": "colour", "x_title": "training step", "y_title": "accuracy"}
        >>> curve([0, 100], [0.1, 0.9], **titles, at=60)
    """
    width, height, left, top, right, bottom = 230.0, 132.0, 40.0, 20.0, 12.0, 36.0
    first, last = min(xs), max(xs)

    def x(value: Number) -> float:
        return left + (width - left - right) * (value - first) / ((last - first) or 1.0)

    low, high = ends

    def y(value: Number) -> float:
        above = min(max(value, low), high) - low
        return height - bottom - (height - top - bottom) * above / (high - low)

    drawn = sorted({round(i * (len(xs) - 1) / 79) for i in range(80)})
    path = " ".join(f"{x(xs[i]):.1f},{y(ys[i]):.1f}" for i in drawn)
    upright = {
        "transform": f"translate(12 {(top + height - bottom) / 2:g}) rotate(-90)",
        "text-anchor": "middle",
        "font-size": 11,
        "fill": "currentColor",
    }
    parts = [
        words(left, 12, title, size=12),
        line(left, y(low), width - right, y(low), FAINT),
        line(left, y(high), width - right, y(high), {**FAINT, "stroke-dasharray": "2 3"}),
        words(left - 5, y(high) + 4, end(high), anchor="end"),
        words(left - 5, y(low) + 4, end(low), anchor="end"),
        mark("text", upright, y_title),
        words(left, height - bottom + 13, f"{first:,g}"),
        words(width - right, height - bottom + 13, f"{last:,g}", anchor="end"),
        words((left + width - right) / 2, height - 8, x_title, anchor="middle"),
    ]
    if at is not None:
        dashed = {"stroke": SECOND, "stroke-width": 1.5, "stroke-dasharray": "4 3"}
        parts.append(line(x(at), top, x(at), height - bottom, dashed))
    stroke = {"stroke": ACCENT, "stroke-width": 2, "stroke-linejoin": "round"}
    parts.append(mark("polyline", {"points": path, "fill": "none", **stroke}))
    change = f"from {numeral(ys[0])} at {first:,g} to {numeral(ys[-1])} at {last:,g}"
    label = f"{title}: {y_title} {change} ({x_title})"
    return drawing(width, height, label, *parts)
