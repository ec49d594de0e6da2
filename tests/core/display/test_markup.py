"""Markup for notebooks: what is escaped, what is drawn where, and that both themes can be read."""

import math
import re

import pytest
from html_checks import ATTACK, SEEN, Page, checked, scoped

from interp.core import Score
from interp.core.display.marks import ACCENT, SECOND, bar, curve, ends_of, interval
from interp.core.display.markup import (
    LEVELS,
    STYLE,
    TINT,
    Html,
    block,
    element,
    escape,
    estimate,
    facts,
    fixed,
    foreign,
    numeral,
    shaded,
    table,
)
from interp.core.display.scores import axis_note, score_cells

NAN = float("nan")


def luminance(red: float, green: float, blue: float) -> float:
    """Relative luminance as WCAG 2 defines it, of a colour from 0 to 255."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (red / 255, green / 255, blue / 255)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    first, second = sorted((luminance(*one), luminance(*other)), reverse=True)
    return (first + 0.05) / (second + 0.05)


def rgb(code: str) -> tuple[float, ...]:
    return tuple(int(code[i : i + 2], 16) for i in (1, 3, 5))


def mixed(over: tuple[float, ...], under: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(share * a + (1 - share) * b for a, b in zip(over, under, strict=True))


LIGHT, DARK = (rgb("#ffffff"), rgb("#222222")), (rgb("#111111"), rgb("#dddddd"))


def test_text_becomes_text_and_markup_stays() -> None:
    assert escape("<b> & \"x\" 'y'") == "&lt;b&gt; &amp; &quot;x&quot; &#x27;y&#x27;"
    assert escape(escape("<")) == "&lt;", "markup is not escaped twice"
    assert escape(f"{escape('<')}") == "&amp;lt;", (
        "an f-string is text again: it fails on the safe side"
    )
    assert escape("a\nb\tc\u202ed\ud800\x07\x7f") == "a↵b⇥c[U+202E]d[U+D800]␇[U+007F]"
    escape(ATTACK).encode("utf-8")
    assert Page(foreign(ATTACK)).text == SEEN
    assert Page(foreign(ATTACK)).elements == ["bdi"]


def test_elements_escape_content_and_attributes() -> None:
    assert (
        element("p", "a < b", element("b", "c"), kind="muted")
        == '<p class="interp-muted">a &lt; b<b>c</b></p>'
    )
    page = Page(element("td", 7, attributes={"aria-label": ATTACK, "scope": "row"}))
    assert page.attributes == [("td", "aria-label", SEEN), ("td", "scope", "row")]
    assert page.text == "7"
    assert isinstance(element("p"), Html)


def test_a_block_is_scoped_small_and_readable_without_its_style() -> None:
    page = checked(
        block(
            "Thing",
            facts([("seed", 0), ("left out", None), ("empty", "")]),
            name=ATTACK,
            about="2 rows",
        )
    )
    assert page.text == f"Thing {SEEN} 2 rowsseed 0 "
    assert scoped(STYLE)
    assert not scoped("p{margin:0}")
    assert not scoped(".interp-box p,td{margin:0}")
    assert len(STYLE) < 1600
    assert not re.search(r"(?<!-)color:|background:(?!#c2660c|#3b82c4)", STYLE), (
        "text and page keep the theme's colours"
    )


def test_a_table_says_what_its_rows_are() -> None:
    html = table(
        ("family", "score"),
        [("one <i>", 0.5), ("two", element("b", "x"))],
        caption="All & every",
        muted={1},
        wrapped={1},
    )
    page = checked(html)
    assert page.text == "All & everyfamilyscoreone <i>0.5twox"
    assert page.elements.count("tr") == 3
    assert page.named("scope") == ["col", "col", "row", "row"]
    assert html.count('<tr class="interp-muted">') == 1
    assert html.index('<tr class="interp-muted">') > html.index("one")
    assert "All & every" in page.named("aria-label")
    assert page.named("tabindex") == ["0"], "the keyboard can scroll it"
    assert checked(table(("nothing",), [])).text == "nothing"


def test_tokens_keep_their_text_and_their_order_of_tints() -> None:
    tokens, weights = (
        ("The", " sea", " <b>", " was", " calm", "\n"),
        (0.0, 0.5, 0.52, 1.0, 0.01, 7.0),
    )
    page = Page(shaded(tokens, weights, peak=3, unknown={0}))
    assert page.text == "The sea <b> was calm↵"
    looks = [value for _, key, value in page.attributes]
    assert looks[0] == "interp-muted"
    tints = [value for value in looks if value.startswith("background")]
    assert tints == ["background:#d714", "background:#d718", "background:#d718"], (
        "half, full at the peak, and no more than full"
    )
    assert "".join(text for tag, text in page.texts if tag == "b") == " was"
    assert page.elements.count("span") == 3, (
        "the two neighbours of one tint share an element, and faint weights have none"
    )
    assert shaded((), ()) == "<bdi></bdi>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.91234, "0.912"),
        (-12345.6, "−12,346"),
        (0.0, "0"),
        (0, "0"),
        (0.004, "0.004"),
        (1e-5, "1e−05"),
        (3.0, "3.000"),
        (NAN, "–"),
        (None, "–"),
        (math.inf, "inf"),
        (-2.5e9, "−2.5e+09"),
    ],
)
def test_numbers_as_text(value: float | None, text: str) -> None:
    assert numeral(value) == text


def test_numbers_with_intervals_and_signs() -> None:
    assert numeral(0.5, signed=True) == "+0.500"
    assert numeral(-0.5, signed=True) == "−0.500"
    assert estimate(0.5, -0.25, 1.0, signed=True) == "+0.500 [−0.250, +1.000]"
    assert estimate(NAN, NAN, NAN) == "–"


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [
        (0.912, 2, False, "0.91"),
        (0.912, 1, True, "+0.9"),
        (-0.512, 2, False, "−0.51"),
        (-0.001, 2, False, "0.00"),
        (0.001, 2, True, "0.00"),
        (None, 2, False, "–"),
        (NAN, 3, True, "–"),
    ],
)
def test_numbers_with_so_many_decimals(
    value: float | None, digits: int, signed: bool, text: str
) -> None:
    assert fixed(value, digits, signed=signed) == text


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([0.4, 0.9], (0, 1)),
        ([0.4, 1.72], (0, 2)),
        ([-0.031, 0.4], (-0.1, 0.4)),
        ([-7.0], (-7, 0)),
        ([0.0], (0, 1)),
        ([], (0, 1)),
        ([NAN, None, 30], (0, 30)),
        ([0.02, 0.031], (0, 0.04)),
    ],
)
def test_an_axis_holds_zero_and_every_number(
    values: list[float | None], ends: tuple[float, float]
) -> None:
    assert ends_of(values) == pytest.approx(ends)


def drawn(html: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The circle, and every line, by their attributes."""
    found = [
        dict(re.findall(r'([\w-]+)="([^"]*)"', text))
        for text in re.findall(r"<(?:circle|line)[^>]*>", html)
    ]
    return next(one for one in found if "cx" in one), [one for one in found if "x1" in one]


def test_an_interval_is_drawn_where_it_is() -> None:
    circle, lines = drawn(interval(0.5, 0.25, 0.75, control=0.0))
    assert float(circle["cx"]) == 60, "half of the axis from 0 to 1"
    axis, bounds, control = lines
    assert (float(axis["x1"]), float(axis["x2"])) == (4, 116)
    assert (float(bounds["x1"]), float(bounds["x2"])) == (32, 88)
    assert float(control["x1"]) == float(control["x2"]) == 4
    label = Page(interval(0.5, 0.25, 0.75, control=0.0)).named("aria-label")[0]
    assert label == "0.500 [0.250, 0.750] on an axis from 0 to 1, control 0"
    _, lines = drawn(interval(0.5, 0.25, 0.75))
    assert len(lines) == 2, "no tick without a control"
    circle, lines = drawn(interval(0.0, -1.0, 1.0))
    assert [float(one["x1"]) for one in lines] == [4, 60, 4], "the axis, its zero, the interval"
    circle, _ = drawn(interval(9.0, 8.0, 10.0, ends=(0, 1)))
    assert float(circle["cx"]) == 116, "what lies beyond the axis is drawn at its end"
    assert interval(NAN, NAN, NAN) == ""
    _, lines = drawn(interval(0.5, NAN, NAN))
    assert len(lines) == 1, "an interval that is not known is not drawn"


def test_rows_of_scores_share_an_axis() -> None:
    scores = [
        Score(0.5, 0.4, 0.6, n=10, seed=3, control=0.1),
        Score(2.0, 1.5, 2.5, n=10, seed=3),
        None,
        Score(NAN, NAN, NAN, n=0, seed=3, control=None, interval="none: no images"),
    ]
    cells = score_cells(scores)
    assert [Page(cell).text.strip() for cell in cells] == [
        "0.500 [0.400, 0.600] control 0.100",
        "2.000 [1.500, 2.500]",
        "–",
        "– (none: no images)",
    ]
    at = [float(drawn(cell)[0]["cx"]) for cell in cells[:2]]
    assert at == pytest.approx([4 + 112 * 0.5 / 3, 4 + 112 * 2 / 3], abs=0.1)
    assert axis_note(scores[:2]) == "axis 0 to 3, tick: control, interval bootstrap 95%, seed 3"
    assert axis_note([None]) == "not measured"


def test_a_curve_has_titled_axes_and_few_points() -> None:
    page = checked(
        curve(
            range(1000),
            [i / 999 for i in range(1000)],
            title="<x>",
            x_title="step",
            y_title="share",
            at=500,
        )
    )
    assert page.text == "<x>10share0999step"
    points = [tuple(map(float, point.split(","))) for point in page.named("points")[0].split()]
    assert len(points) == 80
    assert points[0] == (40, 96)
    assert points[-1] == (218, 20)
    assert page.named("stroke").count(SECOND) == 1
    assert "from 0 at 0 to 1.000 at 999" in page.named("aria-label")[0]
    alone = checked(curve([5], [0.5], title="x", x_title="step", y_title="share"))
    assert alone.named("points") == ["40.0,58.0"]
    assert SECOND not in alone.named("stroke")


def test_a_bar_is_as_long_as_its_share() -> None:
    widths = [Page(bar(share)).named("style") for share in (0, 0.5, 1, 3, -1)]
    assert widths == [["width:0px"], ["width:30px"], ["width:60px"], ["width:60px"], ["width:0px"]]


@pytest.mark.parametrize("accent", [ACCENT, SECOND])
def test_lines_stand_out_in_both_themes(accent: str) -> None:
    for page, _ in (LIGHT, DARK):
        assert contrast(rgb(accent), page) >= 3
    assert contrast(rgb("#ffdd00"), LIGHT[0]) < 3


@pytest.mark.parametrize(("page", "text"), [LIGHT, DARK])
def test_text_can_be_read_on_the_darkest_tint_and_where_it_is_faint(
    page: tuple[float, ...], text: tuple[float, ...]
) -> None:
    shown = "#" + "".join(2 * digit for digit in TINT[1:])
    assert contrast(text, mixed(rgb(shown), page, LEVELS / 15)) >= 4.5
    faint = float(re.findall(r"interp-muted\{opacity:([\d.]+)", STYLE)[0])
    assert contrast(mixed(text, page, faint), page) >= 4.5
