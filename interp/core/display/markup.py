"""Html of the displays in notebooks.

Every display is one `block`, whose style touches nothing outside it and takes the colours of the
page. It loads nothing and runs no script. Numbers stand as text beside every drawing, so that what
a sanitiser leaves can still be read.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape as _escape
from itertools import groupby
from types import MappingProxyType
from typing import final

MISSING = "–"
Number = int | float
"""A value to draw; it may be a count."""

TINT, LEVELS = "#d71", 8
"""A token's tint; its level, 0 to 8, is the colour's last digit (8 of 15: text stays readable)."""

STYLE = (
    ".interp-box{margin:.3em 0;line-height:1.5;max-width:68rem}"
    ".interp-box p,.interp-box ul[class^=interp]{margin:.25em 0;padding:0;list-style:none}"
    ".interp-box table{border-collapse:collapse;border:0;margin:.3em 0;font-size:inherit}"
    ".interp-box th,.interp-box td{text-align:left;vertical-align:top;padding:.2em 1.2em .2em "
    "0;border:0;"
    "white-space:nowrap;font-variant-numeric:tabular-nums}"
    ".interp-box tbody th{font-weight:inherit}"
    ".interp-box thead th{border-bottom:1px solid rgba(128,128,128,.6)}"
    ".interp-box svg{vertical-align:middle;overflow:visible}"
    ".interp-box .interp-muted{opacity:.7}"
    ".interp-box .interp-scroll{overflow-x:auto}"
    ".interp-box ul.interp-facts{display:flex;flex-wrap:wrap;gap:0 1.4em}"
    ".interp-box .interp-row{display:flex;flex-wrap:wrap;gap:.3em 2em}"
    ".interp-box .interp-wrap{white-space:normal;min-width:14em;overflow-wrap:anywhere}"
    ".interp-box .interp-texts li{overflow-wrap:anywhere;padding:.1em 0}"
    ".interp-box .interp-bar{display:inline-block;height:.6em;background:#c2660c}"
    ".interp-box .interp-less .interp-bar{background:#3b82c4}"
    ".interp-box .interp-peak{outline:1.5px solid;outline-offset:-1px;border-radius:2px}"
)

_UNSEEN = re.compile("[\x00-\x1f\x7f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SIGNS = {"\n": "↵", "\t": "⇥", "\r": "␍"}


@final
class Html(str):
    """Markup that is safe to show: functions here escape plain strings, but not these."""

    __slots__ = ()


def escape(text: object) -> Html:
    """Text as markup: `<`, `&` and quotes escaped, invisible characters made visible.

    Line ends become ↵, other control characters their pictures; direction marks (which could
    reorder the text beside them) and unpaired surrogates become their numbers. Markup is unchanged.

    Example:
        >>> escape("<b>")
        '&lt;b&gt;'
    """
    return text if isinstance(text, Html) else Html(_escape(_UNSEEN.sub(_visible, str(text))))


def _visible(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    return _SIGNS.get(character) or (chr(0x2400 + code) if code < 0x20 else f"[U+{code:04X}]")


def element(
    name: str,
    *content: object,
    kind: str = "",
    attributes: Mapping[str, object] = MappingProxyType({}),
) -> Html:
    """One element around escaped strings and markup; `kind` becomes the class `interp-kind`.

    Example:
        >>> element("p", "a < b", kind="muted")
        '<p class="interp-muted">a &lt; b</p>'
    """
    own = {"class": f"interp-{kind}", **attributes} if kind else attributes
    written = "".join(f' {key}="{escape(value)}"' for key, value in own.items())
    return Html(f"<{name}{written}>{''.join(escape(part) for part in content)}</{name}>")


def foreign(text: object) -> Html:
    """A text of a corpus, a model or a path, whose writing direction does not reach beyond it."""
    return element("bdi", text)


def block(title: str, *body: object, name: str = "", about: str = "") -> Html:
    """A display with its style: a title, the `name` of the thing, a few words `about` it, a body.

    Example:
        >>> block("Sites", table(("site", "shape"), [("mid", "8")]))
    """
    head = [
        element("b", title),
        *((" ", foreign(name)) if name else ()),
        *((" ", element("span", about, kind="muted")) if about else ()),
    ]
    return element("div", element("style", Html(STYLE)), element("p", *head), *body, kind="box")


def facts(pairs: Iterable[tuple[str, object]]) -> Html:
    """A line of named values, which wraps on a narrow page; empty values are left out.

    Example:
        >>> facts([("seed", 0), ("model", "")])
    """
    items = (
        element("li", element("span", key, kind="muted"), " ", value, " ")
        for key, value in pairs
        if value is not None and value != ""
    )
    return element("ul", *items, kind="facts")


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    muted: Collection[int] = (),
    wrapped: Collection[int] = (),
) -> Html:
    """A table in a box that scrolls sideways; `muted` numbers the rows that are controls, `wrapped`
    the columns of prose.

    Example:
        >>> rows = [("SNMF", "0.9"), ("random", "0.5")]
        >>> table(("family", "score"), rows, caption="Score from 0 to 2", muted={1})
    """

    def cell(column: int, content: object) -> Html:
        kind = "wrap" if column in wrapped else ""
        if column:
            return element("td", content, kind=kind)
        return element("th", content, kind=kind, attributes={"scope": "row"})

    titles = (element("th", title, attributes={"scope": "col"}) for title in header)
    head = element("thead", element("tr", *titles))
    lines = (
        element(
            "tr",
            *(cell(column, content) for column, content in enumerate(row)),
            kind="muted" if number in muted else "",
        )
        for number, row in enumerate(rows)
    )
    # Outside the box that scrolls, so that it wraps at the width of the page, not of the table.
    above = element("p", caption, kind="muted") if caption else ""
    body = element("table", head, element("tbody", *lines))
    return Html(above + scrolling(body, caption or "table"))


def scrolling(content: Html, label: str) -> Html:
    """A box that scrolls sideways, also by keyboard, if its content is wider than the page."""
    attributes = {"tabindex": 0, "role": "group", "aria-label": label}
    return element("div", content, kind="scroll", attributes=attributes)


def shaded(
    tokens: Sequence[str],
    weights: Sequence[Number],
    *,
    peak: int | None = None,
    unknown: Collection[int] = (),
) -> Html:
    """Tokens on a tint, in eight steps from none at weight 0 to full at 1; the peak is outlined and
    bold, tokens of unknown weight are faint.

    Example:
        >>> shaded(["the", " sea"], [0.1, 1.0], peak=1)
    """
    # Neighbours that look alike share an element: a strip of cards has a thousand tokens.
    looks = [
        "faint" if place in unknown else "peak" if place == peak else ""
        for place in range(len(tokens))
    ]
    levels = [
        0 if look == "faint" else round(LEVELS * min(max(weight, 0.0), 1.0))
        for look, weight in zip(looks, weights, strict=True)
    ]
    alike = groupby(zip(looks, levels, tokens, strict=True), key=lambda own: own[:2])
    runs = (_run(look, level, "".join(one[2] for one in own)) for (look, level), own in alike)
    return element("bdi", *runs)


def _run(look: str, level: int, text: str) -> Html:
    if look == "faint":
        return element("span", text, kind="muted")
    tint = {"style": f"background:{TINT}{level}"} if level else {}
    if look:
        return element("b", text, kind="peak", attributes=tint)
    return element("span", text, attributes=tint) if tint else escape(text)


def numeral(value: Number | None, *, signed: bool = False) -> str:
    """A number as text, with a true minus sign; a dash if it is undefined.

    Three decimals from 0.01 to 1,000, none from there to 10 million, else two significant digits.

    Example:
        >>> numeral(0.91234), numeral(-12345.6), numeral(float("nan"))
        ('0.912', '−12,346', '–')
    """
    if value is None or value != value:
        return MISSING
    size, sign = abs(value), "+" if signed and value > 0 else ""
    style = ",.0f" if 1000 <= size < 1e7 else ".3f" if 0.01 <= size < 1000 else ".2g"
    return format(value, sign + style).replace("-", "−")


def fixed(value: Number | None, digits: int = 2, *, signed: bool = False) -> str:
    """A number with `digits` decimals and a true minus sign; a dash if it is undefined.

    What rounds to zero has no sign.

    Example:
        >>> fixed(-0.512), fixed(-0.001), fixed(0.5, 1, signed=True)
        ('−0.51', '0.00', '+0.5')
    """
    if value is None or value != value:
        return MISSING
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return (text.lstrip("+-") if float(text) == 0 else text).replace("-", "−")


def estimate(value: Number, low: Number, high: Number, *, signed: bool = False) -> str:
    """A number with its interval: `0.910 [0.880, 0.940]`."""
    if value != value:
        return MISSING
    middle, left, right = (numeral(own, signed=signed) for own in (value, low, high))
    return f"{middle} [{left}, {right}]"
