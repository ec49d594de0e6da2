"""Judged cells: scores of continuations for each concept they are needed for; failures are counted
and left out of means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from interp.core import InputError, bootstrap_mean
from interp.steering.generation import Cell, Continuation
from interp.steering.judges.judge import Judge, Judgement
from interp.steering.results import Dose
from interp.steering.targets import Protocol

NO_JUDGEMENT = Judgement(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool))


@dataclass(frozen=True, kw_only=True)
class JudgedTexts:
    """Cells, their texts, and each cell's judgement for each concept it is needed for."""

    protocol: Protocol
    cells: Sequence[Cell]
    texts: Sequence[Sequence[Continuation]]
    judgements: Mapping[tuple[int, str], Judgement]
    seed: int

    @property
    def judged(self) -> int:
        """The number of judgements."""
        return sum(len(judgement.failed) for judgement in self.judgements.values())

    @property
    def failed(self) -> int:
        """The number of failed judgements."""
        return sum(int(judgement.failed.sum()) for judgement in self.judgements.values())

    def dose(self, cell: int, concept: str) -> Dose:
        """A cell's scores for a concept, selection and report prompts apart."""
        what = self.cells[cell]
        texts = self.texts[cell] if what.reached else ()
        judgement = self.judgements[cell, concept] if what.reached else NO_JUDGEMENT
        report = np.array(
            [text.prompt in self.protocol.report_prompts for text in texts], dtype=bool
        )
        values = judgement.score[report]
        kept = values[~np.isnan(values)]
        return Dose(
            kl=what.kl,
            sign=what.sign,
            measured_kl=what.measured_kl,
            alpha=what.alpha,
            reached=what.reached,
            selection_score=_mean(judgement.score, ~report & ~judgement.failed),
            score=bootstrap_mean(kept, seed=self.seed) if len(kept) else None,
            concept_score=_mean(judgement.concept, report & ~judgement.failed),
            fluency_score=_mean(judgement.fluency, report & ~judgement.failed),
            continuations=tuple(text for text, used in zip(texts, report, strict=True) if used),
            values=values,
        )


def judge_texts(
    judge: Judge,
    cells: Sequence[Cell],
    texts: Sequence[Sequence[Continuation]],
    wanted: Sequence[tuple[int, str]],
    protocol: Protocol,
    seed: int,
) -> JudgedTexts:
    """Have cells judged in one call; `wanted` pairs cell numbers with concepts.

    Raises:
        InputError: the judge refuses a concept, or does not answer for every text.
    """
    reached = [(cell, concept) for cell, concept in wanted if cells[cell].reached]
    rows = [(text, concept) for cell, concept in reached for text in texts[cell]]
    answer = judge.judge(
        [text.prompt for text, _ in rows],
        [text.text for text, _ in rows],
        [concept for _, concept in rows],
    )
    if not len(answer.concept) == len(answer.fluency) == len(answer.failed) == len(rows):
        raise InputError(
            f"the judge gave {len(answer.failed)} judgements for {len(rows)} texts; it must give "
            "one per text, failures included"
        )
    found, start = {}, 0
    for cell, concept in reached:
        part = slice(start, start + len(texts[cell]))
        found[cell, concept] = Judgement(
            answer.concept[part], answer.fluency[part], answer.failed[part]
        )
        start = part.stop
    return JudgedTexts(protocol=protocol, cells=cells, texts=texts, judgements=found, seed=seed)


def _mean(values: Float[np.ndarray, " text"], kept: Bool[np.ndarray, " text"]) -> float:
    return float(values[kept].mean()) if kept.any() else float("nan")
