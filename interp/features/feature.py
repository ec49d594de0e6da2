"""Feature: one direction of a dictionary, with what is known of it."""

import html
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.decompose.dictionary import Dictionary

LabelSource = Literal["none", "concept and distinctive words", "distinctive words", "language model"]


@dataclass(frozen=True)
class FeatureContext:
    """A place where a feature fires: the tokens around it, the feature's coefficient on each, and which token is the peak."""

    tokens: tuple[str, ...]
    coefficients: tuple[float, ...]
    peak: int


@dataclass(frozen=True)
class TokenEffect:
    """A vocabulary item and the logit a feature's direction gives it when read on its own."""

    token: str
    logit: float


@dataclass(frozen=True)
class Feature:
    """One direction of a dictionary.

    `direction [d]` has unit norm at `site`; `firing_rate` is the share of rows with a coefficient above 5 % of the largest; `nonzero` the
    number of neurons it uses. `contexts`, `promoted` and `suppressed` are filled by `describe`.
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
            raise InputError(f"feature {self.index} does not exist; the dictionary has features 0 to {len(self.dictionary) - 1}")

    @property
    def id(self) -> str:
        """A name that is unique within a report: the method and the number."""
        return f"{self.dictionary.method}-{self.index}"

    @property
    def direction(self) -> Float[Tensor, " d"]:
        """The feature's unit vector at its site."""
        return self.dictionary.directions[self.index]

    @property
    def site(self) -> str:
        """Where the direction lives."""
        return self.dictionary.site

    @property
    def nonzero(self) -> int:
        """How many neurons the direction uses."""
        return int((self.direction != 0).sum())

    def named(self, label: str, source: LabelSource, concept: str | None = None) -> "Feature":
        """The same feature with a label."""
        return replace(self, label=label, label_source=source, concept=concept)

    def _repr_html_(self) -> str:
        rows = "".join(f"<li>{_shaded(context)}</li>" for context in self.contexts[:5])
        promoted = ", ".join(html.escape(repr(effect.token)) for effect in self.promoted[:8])
        return (
            f"<p><b>{html.escape(self.id)}</b> {html.escape(self.label)} "
            f"({html.escape(self.site)}, fires on {self.firing_rate:.1%} of rows)</p>"
            f"<ul>{rows}</ul><p>promotes {promoted}</p>"
        )


def _shaded(context: FeatureContext) -> str:
    top = max((abs(value) for value in context.coefficients), default=0.0) or 1.0
    return "".join(
        f'<span style="background:rgba(214,120,20,{0.7 * max(value, 0) / top:.2f})">{html.escape(token)}</span>'
        for token, value in zip(context.tokens, context.coefficients, strict=True)
    )
