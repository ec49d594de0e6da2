"""Small drawings for notebooks, as inline svg: an interval, a bar, a line chart. Every one has a
spoken label with its numbers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from interp.core.display.markup import Html, Number, element, estimate, numeral

ACCENT = "#c2660c"
SECOND = "#3b82c4"
"""Both stand at least 3 : 1 against white and against #111."""

WIDTH, HEIGHT = 120.0, 14.0
FAINT = {"stroke": "currentColor", "stroke-opacity": 0.35}


def mark(name: str, attributes: Mapping[str, object], *content: object) -> Html:
    """One svg element; fractions are written with four digits."""
    return element(
        name,
        *content,
        attributes={
            key: f"{value:.4g}" if isinstance(value, float) else value
            for key, value in attributes.items()
        },
    )


def drawing(width: Number, height: Number, label: str, *parts: Html) -> Html:
    """An inline svg with a spoken label; it inherits the colour of the text."""
    size = {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return element("svg", *parts, attributes={"role": "img", "aria-label": label, **size})


def words(x: Number, y: Number, text: str, *, anchor: str = "start", size: int = 11) -> Html:
    """Text in a drawing, in the page's own colour."""
    return mark(
        "text",
        {"x": x, "y": y, "text-anchor": anchor, "font-size": size, "fill": "currentColor"},
        text,
    )


def line(x1: Number, y1: Number, x2: Number, y2: Number, attributes: Mapping[str, object]) -> Html:
    """A straight line in a drawing."""
    return mark("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, **attributes})


def ends_of(values: Iterable[Number | None]) -> tuple[float, float]:
    """The ends of an axis for some numbers: 0 to 1 where all lie there, else from 0 (or below) to a
    round number beyond them.

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
    """A number on its axis with its interval, and its control as a tick; nothing where the number
    is undefined.

    The ends of the axis are written beside it unless they are given, as for the rows of a table.

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
        parts.append(
            line(
                place(low),
                7,
                place(high),
                7,
                {"stroke": ACCENT, "stroke-width": 7, "stroke-opacity": 0.5},
            )
        )
    if control is not None and math.isfinite(control):
        label += f", control {numeral(control)}"
        parts.append(
            line(
                place(control),
                1,
                place(control),
                13,
                {"stroke": "currentColor", "stroke-width": 1.5},
            )
        )
    parts.append(mark("circle", {"cx": place(value), "cy": 7, "r": 2.8, "fill": ACCENT}))
    drawn = drawing(WIDTH, HEIGHT, label, *parts)
    if ends is not None:
        return drawn
    return Html(f"{_edge(first)} {drawn} {_edge(last)}")


def end(value: Number) -> str:
    """An axis' end as text, with as few digits as it has."""
    return f"{value:,g}".replace("-", "−")


def _edge(value: Number) -> Html:
    return element("span", end(value), kind="muted")


def bar(share: Number, *, width: int = 60) -> Html:
    """A bar for a share from 0 to 1, beside the number that it shows; in an element of kind `less`
    it has the second colour.
    """
    return element(
        "i", kind="bar", attributes={"style": f"width:{width * min(max(share, 0.0), 1.0):.0f}px"}
    )


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
    """A small line chart with titled axes; a dashed line marks `at` on the x axis. At most 80
    points are drawn, ends included.

    Example:
        >>> curve(
        ...     [0, 100],
        ...     [0.1, 0.9],
        ...     title="colour",
        ...     x_title="training step",
        ...     y_title="accuracy",
        ...     at=60,
        ... )
    """
    width, height, left, top, right, bottom = 230.0, 132.0, 40.0, 20.0, 12.0, 36.0
    first, last = min(xs), max(xs)

    def x(value: Number) -> float:
        return left + (width - left - right) * (value - first) / ((last - first) or 1.0)

    def y(value: Number) -> float:
        return (
            height
            - bottom
            - (height - top - bottom)
            * (min(max(value, ends[0]), ends[1]) - ends[0])
            / (ends[1] - ends[0])
        )

    drawn = sorted({round(i * (len(xs) - 1) / 79) for i in range(80)})
    path = " ".join(f"{x(xs[i]):.1f},{y(ys[i]):.1f}" for i in drawn)
    parts = [
        words(left, 12, title, size=12),
        line(left, y(ends[0]), width - right, y(ends[0]), FAINT),
        line(left, y(ends[1]), width - right, y(ends[1]), {**FAINT, "stroke-dasharray": "2 3"}),
        words(left - 5, y(ends[1]) + 4, end(ends[1]), anchor="end"),
        words(left - 5, y(ends[0]) + 4, end(ends[0]), anchor="end"),
        mark(
            "text",
            {
                "transform": f"translate(12 {(top + height - bottom) / 2:g}) rotate(-90)",
                "text-anchor": "middle",
                "font-size": 11,
                "fill": "currentColor",
            },
            y_title,
        ),
        words(left, height - bottom + 13, f"{first:,g}"),
        words(width - right, height - bottom + 13, f"{last:,g}", anchor="end"),
        words((left + width - right) / 2, height - 8, x_title, anchor="middle"),
    ]
    if at is not None:
        parts.append(
            line(
                x(at),
                top,
                x(at),
                height - bottom,
                {"stroke": SECOND, "stroke-width": 1.5, "stroke-dasharray": "4 3"},
            )
        )
    parts.append(
        mark(
            "polyline",
            {
                "points": path,
                "fill": "none",
                "stroke": ACCENT,
                "stroke-width": 2,
                "stroke-linejoin": "round",
            },
        )
    )
    label = (
        f"{title}: {y_title} from {numeral(ys[0])} at {first:,g} to {numeral(ys[-1])} at "
        f"{last:,g} ({x_title})"
    )
    return drawing(width, height, label, *parts)
