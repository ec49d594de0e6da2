"""show(): a strip of feature cards to browse in a notebook."""

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
    """Features as a strip of cards, the first `count` of them; the arrow keys scroll it. A console
    gets their ids and labels.

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
        """What is not shown, and how to see it; empty where everything is."""
        total = len(self.features)
        return (
            ""
            if total <= self.count
            else f"{self.count} of {total:,} shown; interp.show(features[{self.count}:])"
        )

    def _repr_html_(self) -> str:
        features = self.features[: self.count]
        label = f"Cards of {len(features)} features; scroll sideways"
        region = {"tabindex": 0, "role": "region", "aria-label": label}
        strip = element(
            "div", *(_card(feature) for feature in features), kind="strip", attributes=region
        )
        note = (element("p", self.note, kind="muted"),) if self.note else ()
        legend = element("p", LEGEND, kind="muted")
        return block(
            "Features",
            element("style", Html(STYLE)),
            strip,
            legend,
            *note,
            about=f"{len(self.features):,}",
        )


def show(features: Feature | Sequence[Feature], *, count: int = 24) -> Strip:
    """Show features as cards in a row that scrolls sideways.

    Args:
        features: one, or any number of them.
        count: how many cards at most; what is left out is said below them.

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
    title = element(
        "p",
        element("b", foreign(feature.id)),
        " ",
        element("span", foreign(feature.site), kind="muted"),
    )
    return element("div", title, *feature.card(CONTEXTS, RADIUS, EFFECTS), kind="card")
