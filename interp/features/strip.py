"""show(): a strip of feature cards for notebooks."""

from collections.abc import Sequence
from dataclasses import dataclass

from interp.core import InputError
from interp.core.display.markup import Html, block, element, foreign
from interp.decompose.dictionary import Dictionary
from interp.features.feature import LEGEND, Feature

CONTEXTS, RADIUS, EFFECTS = 3, 5, 3

STYLE = (
    ".interp-strip{display:flex;align-items:stretch;gap:.8em;overflow-x:auto;scroll-snap-type:x "
    "proximity;padding:.2em .1em .8em}"
    ".interp-strip "
    ".interp-card{flex:none;box-sizing:border-box;width:min(20rem,85vw);scroll-snap-align:start;"
    "border:1px solid rgba(128,128,128,.5);border-radius:6px;padding:.5em .8em}"
    ".interp-strip .interp-texts li{display:-webkit-box;-webkit-box-orient:vertical;"
    "-webkit-line-clamp:2;overflow:hidden;margin:.25em 0}"
)


@dataclass(frozen=True)
class Strip:
    """The first `count` features as a strip of cards, which arrow keys scroll; in a console, their
    ids and labels.

    Example:
        >>> Strip(features, 24)
    """

    features: tuple[Feature, ...]
    count: int

    def __repr__(self) -> str:
        lines = [f"{feature.id:>12}  {feature.label}" for feature in self.features[: self.count]]
        return "\n".join([*lines, *([self.note] if self.note else [])])

    @property
    def note(self) -> str:
        """How many features are shown, and how to see the rest; empty if all are."""
        total = len(self.features)
        if total <= self.count:
            return ""
        return f"{self.count} of {total:,} shown; interp.show(features[{self.count}:])"

    def _repr_html_(self) -> str:
        features = self.features[: self.count]
        label = f"Cards of {len(features)} features; scroll sideways"
        region = {"tabindex": 0, "role": "region", "aria-label": label}
        strip = element("div", *map(_card, features), kind="strip", attributes=region)
        notes = [element("p", text, kind="muted") for text in (LEGEND, self.note) if text]
        style = element("style", Html(STYLE))
        return block("Features", style, strip, *notes, about=f"{len(self.features):,}")


def show(features: Feature | Sequence[Feature], *, count: int = 24) -> Strip:
    """Show features as cards in a row that scrolls sideways.

    Args:
        features: one or several.
        count: how many cards at most; a note names the rest.

    Raises:
        InputError: there are no features, or `count` is below 1.

    Cost: about 3 kB of html for every card.

    Example:
        >>> interp.show(interp.describe(snmf, acts, model))
    """
    if isinstance(features, Dictionary):
        raise InputError(
            "a dictionary has directions, not yet features; show interp.describe(dictionary, acts, "
            "model)"
        )
    given = (features,) if isinstance(features, Feature) else tuple(features)
    if not given:
        raise InputError(
            "there are no features to show; give at least one, as interp.describe(dictionary, "
            "acts) makes them"
        )
    if count < 1:
        raise InputError(f"count is {count}; show at least 1 card")
    return Strip(given, count)


def _card(feature: Feature) -> Html:
    site = element("span", foreign(feature.site), kind="muted")
    title = element("p", element("b", foreign(feature.id)), " ", site)
    return element("div", title, *feature.card(CONTEXTS, RADIUS, EFFECTS), kind="card")
