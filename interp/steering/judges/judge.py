"""What a judge is: texts and the concept each should show, to a concept score and a fluency score,
failures counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from interp.core import Score
from interp.core.display.markup import Html, block, element, facts, foreign, numeral, table
from interp.core.display.scores import score_table

SCALE = 2.0
LISTED = 40


@dataclass(frozen=True)
class Judgement:
    """Scores from 0 to 2 of every text; a text the judge failed on has NaN in both and True in
    `failed`, and is left out of every mean.
    """

    concept: Float[np.ndarray, " text"]
    fluency: Float[np.ndarray, " text"]
    failed: Bool[np.ndarray, " text"]

    @property
    def score(self) -> Float[np.ndarray, " text"]:
        """The harmonic mean of concept and fluency, 0 where either is 0 (AxBench, Wu et al. 2025);
        NaN where the judge failed.
        """
        total = self.concept + self.fluency
        harmonic = 2 * self.concept * self.fluency / np.where(total > 0, total, 1.0)
        return np.where(self.failed, np.nan, harmonic)


@dataclass(frozen=True)
class Reliability:
    """How well a judge tells concepts apart on sentences it was not fitted on: `auroc` over
    accepted concepts, and each concept's own.

    A refused concept is one the judge cannot tell apart; it refuses to judge it.
    """

    auroc: Score
    by_concept: dict[str, float]
    accepted: tuple[str, ...]
    refused: tuple[str, ...]

    def _repr_html_(self) -> str:
        verdict = (
            f"The judge tells {len(self.accepted):,} of {len(self.by_concept):,} concepts "
            "apart and refuses the others."
        )
        if not self.by_concept:
            verdict = "Nobody has measured how well this judge tells concepts apart."
        mean = score_table(
            ("", "AUROC"),
            [("mean over accepted concepts", self.auroc)],
            about="On sentences the judge was not fitted on",
        )
        hidden = len(self.by_concept) - LISTED
        more = facts([("more concepts", f"{hidden:,}")] if hidden > 0 else [])
        return block("Judge", element("p", element("b", verdict)), mean, self._concepts(), more)

    def _concepts(self) -> Html:
        worst_first = sorted(
            self.by_concept.items(), key=lambda pair: (pair[1] == pair[1], pair[1])
        )[:LISTED]
        refused = set(self.refused)
        rows = [
            (foreign(name), numeral(value), "refused" if name in refused else "accepted")
            for name, value in worst_first
        ]
        muted = {number for number, (name, _) in enumerate(worst_first) if name in refused}
        return table(
            ("concept", "AUROC", ""),
            rows,
            caption="Each concept, the least told apart first; faint: refused",
            muted=muted,
        )


@runtime_checkable
class Judge(Protocol):
    """Anything that scores texts; this one method is all that `evaluate_steering` needs."""

    def judge(
        self, prompts: Sequence[str], texts: Sequence[str], concepts: Sequence[str]
    ) -> Judgement:
        """Scores of continuations `texts` of `prompts`, each for its own concept.

        Everything that is to be judged comes in one call, a text once for every concept it is
        scored for: a judge looks at each text once, or asks many questions at a time, as suits it.

        Raises:
            InputError: the judge refuses a concept.
        """
        ...


@runtime_checkable
class MeasuredJudge(Judge, Protocol):
    """A judge that says how far it can be trusted."""

    name: str
    reliability: Reliability
