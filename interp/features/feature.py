"""Feature: one direction of a dictionary with its contexts, tokens and label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.core.display.marks import bar
from interp.core.display.markup import Html, block, element, facts, foreign, numeral, shaded
from interp.decompose.dictionary import Dictionary

LabelSource = Literal[
    "none", "concept and distinctive words", "distinctive words", "language model"
]


@dataclass(frozen=True)
class FeatureContext:
    """A place where a feature fires: tokens, coefficients, and the place of the peak."""

    tokens: tuple[str, ...]
    coefficients: tuple[float, ...]
    peak: int


@dataclass(frozen=True)
class TokenEffect:
    """A token and the logit that a feature's direction alone gives it."""

    token: str
    logit: float


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One direction of a dictionary.

    `direction [d]` has unit norm at `site`; `firing_rate` is the share of rows with a coefficient
    above 5 % of the largest. `describe` fills `contexts`, `promoted` and `suppressed`.
    """

    dictionary: Dictionary
    index: int
    firing_rate: float = 0.0
    contexts: tuple[FeatureContext, ...] = ()
    promoted: tuple[TokenEffect, ...] = ()
    suppressed: tuple[TokenEffect, ...] = ()
    label: str = ""
    label_source: LabelSource = "none"
    concept: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < len(self.dictionary):
            raise InputError(
                f"feature {self.index} does not exist; the dictionary has features 0 to "
                f"{len(self.dictionary) - 1}"
            )

    def __repr__(self) -> str:
        # The generated repr would print all contexts and the dictionary's numbers.
        return (
            f"Feature({self.id} at {self.site or 'a tensor'}: {self.label!r}, fires on "
            f"{self.firing_rate:.1%} of rows)"
        )

    @property
    def id(self) -> str:
        """A name unique within a report: the method and the number."""
        return f"{self.dictionary.method}-{self.index}"

    @property
    def direction(self) -> Float[Tensor, " d"]:
        """The feature's unit vector at its site."""
        return self.dictionary.directions[self.index]

    @property
    def site(self) -> str:
        """The site of the direction."""
        return self.dictionary.site

    @property
    def nonzero(self) -> int:
        """How many neurons the direction uses."""
        return int((self.direction != 0).sum())

    def named(self, label: str, source: LabelSource, concept: str | None = None) -> "Feature":
        """The same feature with a label."""
        return replace(self, label=label, label_source=source, concept=concept)

    def _repr_html_(self) -> str:
        card, legend = self.card(CONTEXTS, RADIUS, EFFECTS), element("p", LEGEND, kind="muted")
        return block("Feature", *card, legend, name=self.id, about=self.site)

    def card(self, contexts: int, radius: int, effects: int) -> tuple[Html, ...]:
        """A card below its title: label, facts, `contexts` contexts with `radius` tokens on either
        side of the peak, and `effects` tokens promoted and suppressed.
        """
        source = element("span", f"({self.label_source})", kind="muted")
        label = element("p", element("b", foreign(self.label)), " ", source)
        width = len(self.direction)
        named = [
            ("fires on", f"{self.firing_rate:.1%} of rows"),
            ("neurons", f"{self.nonzero:,} of {width:,} ({self.nonzero / width:.1%})"),
            ("concept", self.concept and foreign(self.concept)),
        ]
        return (
            *((label,) if self.label else ()),
            facts(named),
            *_contexts(self.contexts, contexts, radius),
            *_vocabulary(self.promoted, self.suppressed, effects),
        )


CONTEXTS, RADIUS, EFFECTS = 5, 15, 6
LEGEND = (
    "Tint: a token's coefficient, by the largest of the card; outlined: the peak; bars: "
    "logits of the direction read on its own"
)


def _contexts(contexts: Sequence[FeatureContext], count: int, radius: int) -> tuple[Html, ...]:
    if not contexts:
        title = "No contexts: the feature fired on no row that was given"
        return (element("p", title, kind="muted"),)
    listed = contexts[:count]
    # One scale for the card, so that a weak context looks weak.
    top = max((value for context in listed for value in context.coefficients), default=0.0)
    title = f"Top {len(listed)} of {len(contexts)} contexts, coefficients up to {numeral(top)}"
    items = (element("li", _shaded(context, radius, top)) for context in listed)
    return (element("p", title, kind="muted"), element("ul", *items, kind="texts"))


def _shaded(context: FeatureContext, radius: int, top: float) -> Html:
    start, stop = max(0, context.peak - radius), context.peak + radius + 1
    weights = [max(value, 0.0) / (top or 1.0) for value in context.coefficients[start:stop]]
    before, after = "…" if start else "", "…" if stop < len(context.tokens) else ""
    tokens = shaded(context.tokens[start:stop], weights, peak=context.peak - start)
    return Html(before + tokens + after)


def _vocabulary(
    promoted: Sequence[TokenEffect], suppressed: Sequence[TokenEffect], count: int
) -> tuple[Html, ...]:
    top = max((abs(effect.logit) for effect in (*promoted, *suppressed)), default=0.0) or 1.0
    halves = [
        element(
            "div",
            element("span", title, kind="muted"),
            element("ul", *(_effect(own, top) for own in found[:count]), kind="list"),
            kind=kind,
        )
        for title, found, kind in (
            ("promotes", promoted, "more"),
            ("suppresses", suppressed, "less"),
        )
        if found
    ]
    return (element("div", *halves, kind="row"),) if halves else ()


def _effect(effect: TokenEffect, top: float) -> Html:
    logit = f" {numeral(effect.logit, signed=True)}"
    return element("li", bar(abs(effect.logit) / top), " ", foreign(repr(effect.token)), logit)
