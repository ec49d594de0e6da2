"""What every display for a notebook must be: well-formed, harmless, small, and readable as text."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

ATTACK = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> \"'><b>& \u202ereversed \u2069 "
    "\ud800 \x00"
)
SEEN = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> \"'><b>& [U+202E]reversed [U+2069] "
    "[U+D800] ␀"
)
"""What of the attack a reader sees."""

WRITTEN = "div p ul li span b i bdi style table thead tbody tr th td"
DRAWN = "svg line rect circle path polyline text"
ELEMENTS = frozenset(f"{WRITTEN} {DRAWN}".split())
NAMED = "class style role aria-label tabindex scope"
PLACED = "viewbox width height x y x1 y1 x2 y2 cx cy r d points transform"
LOOKS = (
    "fill fill-opacity stroke stroke-width stroke-opacity stroke-dasharray stroke-linejoin "
    "text-anchor font-size"
)
ATTRIBUTES = frozenset(f"{NAMED} {PLACED} {LOOKS}".split())


@dataclass
class Page(HTMLParser):
    """A parsed display: its text by element, its attributes, and the elements still open."""

    html: str
    open: list[str] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.open.append(tag)
        self.elements.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    @property
    def text(self) -> str:
        """All text that a reader sees."""
        return "".join(data for element, data in self.texts if element != "style")

    @property
    def styles(self) -> str:
        return "".join(data for element, data in self.texts if element == "style")

    def named(self, attribute: str) -> list[str]:
        """All values of one attribute."""
        return [value for _, key, value in self.attributes if key == attribute]


def checked(html: str, *, limit: int = 60_000) -> Page:
    """The parsed display, after everything has been checked that must hold of any."""
    size = len(html.encode("utf-8"))
    assert size < limit, f"{size} bytes"
    page = Page(html)
    assert not page.open, f"{page.open} are not closed"
    assert set(page.elements) <= ELEMENTS, set(page.elements) - ELEMENTS
    assert {key for _, key, _ in page.attributes} <= ATTRIBUTES, {
        key for _, key, _ in page.attributes
    } - ATTRIBUTES
    assert "<script" not in html.lower()
    assert "http" not in html
    assert not any(
        "url(" in value or "expression" in value for value in [*page.named("style"), page.styles]
    )
    assert scoped(page.styles)
    return page


def scoped(style: str) -> bool:
    """Whether every rule of a style begins at a class of ours."""
    selectors = [
        selector for rule in style.split("}") if rule for selector in rule.split("{")[0].split(",")
    ]
    return all(selector.startswith(".interp-") for selector in selectors)
