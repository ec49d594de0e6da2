"""What a judge is: from texts and their concepts to concept and fluency scores, with failures."""

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
    """Scores from 0 to 2 of every text; a text the judge failed on has NaN in both, True in
    `failed`, and is left out of means.
    """

    concept: Float[np.ndarray, " text"]
    fluency: Float[np.ndarray, " text"]
    failed: Bool[np.ndarray, " text"]

    @property
    def score(self) -> Float[np.ndarray, " text"]:
        """The harmonic mean of concept and fluency (AxBench, Wu et al. 2025): 0 where either is 0,
        NaN where the judge failed.
        """
        total = self.concept + self.fluency
        harmonic = 2 * self.concept * self.fluency / np.where(total > 0, total, 1.0)
        return np.where(self.failed, np.nan, harmonic)


@dataclass(frozen=True)
class Reliability:
    """How well a judge tells concepts apart on sentences it was not fitted on: the mean `auroc` of
    accepted concepts, and each concept's.

    The judge refuses to judge the concepts in `refused`, which it cannot tell apart.
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
            verdict = "How well this judge tells concepts apart has not been measured."
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
            caption="Each concept, lowest AUROC first; faint: refused",
            muted=muted,
        )


@runtime_checkable
class Judge(Protocol):
    """Anything that scores texts; `evaluate_steering` needs only this method."""

    def judge(
        self, prompts: Sequence[str], texts: Sequence[str], concepts: Sequence[str]
    ) -> Judgement:
        """Scores of continuations `texts` of `prompts`, each for its own concept.

        Everything comes in one call, a text once per concept it is scored for, so that a judge can
        encode each text once or send many requests at a time.

        Raises:
            InputError: the judge refuses a concept.
        """
        ...


@runtime_checkable
class MeasuredJudge(Judge, Protocol):
    """A judge with measured reliability."""

    name: str
    reliability: Reliability
