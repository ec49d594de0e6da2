"""A judge that is a language model behind an OpenAI-compatible endpoint: two ratings per text,
failures counted, answers kept.
"""

import math
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from interp.core import InputError, UnavailableError
from interp.corpus import ConceptSet
from interp.detection import auroc_many
from interp.steering.judges.answers import AnswerStore
from interp.steering.judges.judge import Judgement, Reliability
from interp.steering.judges.reliability import UNMEASURED, reliability_of
from interp.steering.judges.rubric import VERSION, concept_question, fluency_question, rating
from interp.steering.judges.settings import Endpoint

if TYPE_CHECKING:
    from interp.steering.judges.chat import Reply

GIVE_UP = 20
"""So many questions in vain and none answered: the endpoint is not there, and asking on would take
hours to say so.
"""


@dataclass(frozen=True)
class Usage:
    """What a judge has done so far: different questions, how many of them the cache knew, requests
    sent, and failures by their reason.
    """

    questions: int
    from_cache: int
    requests: int
    failures: dict[str, int]


@dataclass(frozen=True)
class EndpointJudge:
    """Concept and fluency, each rated 0, 1 or 2 by a language model at temperature 0, in one
    question each.

    The scale is AxBench's in our words (Wu et al. 2025; its third rating, whether an instruction
    was followed, has no meaning for a continuation): concept 0 absent, 1 in part or out of place, 2
    plainly and naturally there; fluency 0 gibberish, 1 odd, 2 smooth. The model explains itself and
    ends with `Rating: [[n]]`; nothing else is taken for a rating. An empty text has 0 in both,
    without asking. A text one of whose questions gets no rating is failed.

    Args:
        url: the base address, such as `https://host/v1`; `/chat/completions` is appended.
        model: its name there.
        key_from: the environment variable that holds the key, read at each call and kept nowhere;
            None sends no key.
        concurrency: requests under way at the same time, at most.
        timeout: seconds that one request may wait.
        retries: attempts after the first; see `ask` for what is tried again and when.
        backoff: seconds before the second attempt, about; doubled each time.
        deadline: seconds that one call of `judge` may take; what has no answer by then is failed.
        max_tokens: of an answer.
        seed: of the jitter in the waits.
        descriptions: what a concept's name stands for, where the name alone does not say it.
        cache: a folder for the rated answers; what is there is not asked again, even after a run
            was killed.
        reliability: what `measured` found; without it the judge refuses no concept.

    Raises:
        InputError: an argument cannot be, or a key would go unencrypted to another machine.

    Cost: one short request per different text and concept, and one per different prompt and text.

    Example:
        >>> judge = EndpointJudge(
        ...     "https://api.openai.com/v1", "gpt-4o-mini", cache="answers"
        ... ).measured(interp.load_concepts())
        >>> judge.reliability.auroc, judge.usage
    """

    url: str
    model: str
    _: KW_ONLY
    key_from: str | None = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 30.0
    retries: int = 4
    backoff: float = 1.0
    deadline: float = 3600.0
    max_tokens: int = 300
    seed: int = 0
    descriptions: Mapping[str, str] = field(default_factory=dict)
    cache: str | Path | None = None
    reliability: Reliability = UNMEASURED
    _counts: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)
    _failures: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._endpoint()
        if self.concurrency < 1:
            raise InputError(
                f"concurrency is {self.concurrency}; give 1 or more requests at the same time"
            )
        if not (math.isfinite(self.deadline) and self.deadline > 0):
            raise InputError(f"deadline is {self.deadline} s; give a time above 0")

    @property
    def name(self) -> str:
        """What the judge is, for a report."""
        return (
            f"language model: {self.model} at {urllib.parse.urlsplit(self.url).hostname}; concept "
            "and fluency rated 0 to 2"
        )

    @property
    def usage(self) -> Usage:
        """What this judge has done so far, over all calls."""
        counts = self._counts
        return Usage(
            counts["questions"], counts["from_cache"], counts["requests"], dict(self._failures)
        )

    @property
    def failures(self) -> dict[str, int]:
        """How many questions got no rating so far, by reason."""
        return self.usage.failures

    def judge(
        self, prompts: Sequence[str], texts: Sequence[str], concepts: Sequence[str]
    ) -> Judgement:
        """Scores of continuations, each for its own concept.

        Raises:
            InputError: a concept is one the judge refuses, or there is no key.
            UnavailableError: the endpoint refuses to be asked, or nothing was answered at all; or
                the cache cannot be written.
        """
        for concept in dict.fromkeys(concepts):
            if concept in self.reliability.refused:
                accepted = ", ".join(self.reliability.accepted) or "none"
                raise InputError(
                    f"the judge cannot tell {concept!r} apart; choose among those it can: "
                    f"{accepted}"
                )
        rows = list(zip(prompts, texts, concepts, strict=True))
        about = [self._about(text, concept) for _, text, concept in rows]
        reading = [
            fluency_question(prompt, text) if text.strip() else None for prompt, text, _ in rows
        ]
        # Text by text, so that a call that is cut off has whole judgements.
        ratings = self._ratings(
            question for both in zip(about, reading, strict=True) for question in both
        )
        shown, fluent = _column(about, ratings), _column(reading, ratings)
        failed = np.isnan(shown) | np.isnan(fluent)
        return Judgement(np.where(failed, np.nan, shown), np.where(failed, np.nan, fluent), failed)

    def measured(self, concepts: ConceptSet, *, seed: int = 0) -> "EndpointJudge":
        """This judge with its reliability, so that it refuses what it cannot tell apart; see
        `measure`.

        What measuring cost and where it failed is part of the new judge's `usage`.
        """
        found = replace(self, reliability=measure(self, concepts, seed=seed))
        found._counts.update(self._counts)
        found._failures.update(self._failures)
        return found

    def _endpoint(self) -> Endpoint:
        return Endpoint(
            url=self.url,
            model=self.model,
            key_from=self.key_from,
            timeout=self.timeout,
            retries=self.retries,
            backoff=self.backoff,
            max_tokens=self.max_tokens,
            seed=self.seed,
        )

    def _about(self, text: str, concept: str) -> str | None:
        return (
            concept_question(text, concept, self.descriptions.get(concept, ""))
            if text.strip()
            else None
        )

    def _ratings(self, questions: Iterable[str | None]) -> dict[str, int]:
        """Ratings of all questions that have one; from the cache, then from the endpoint."""
        wanted = list(dict.fromkeys(question for question in questions if question is not None))
        store = (
            AnswerStore(Path(self.cache), self.model, VERSION)
            if self.cache is not None and wanted
            else None
        )
        known = {question: _rating(store.get(question)) for question in wanted} if store else {}
        ratings = {question: value for question, value in known.items() if value is not None}
        self._counts.update(questions=len(wanted), from_cache=len(ratings))
        missing = [question for question in wanted if question not in ratings]
        return {**ratings, **self._asked(missing, store, alone=not ratings)} if missing else ratings

    def _asked(
        self, questions: Sequence[str], store: AnswerStore | None, *, alone: bool
    ) -> dict[str, int]:
        """Ratings from the endpoint; `alone` says that there are no others, so that no answer at
        all is an error.
        """
        from interp.steering.judges.asking import ask_all

        ratings: dict[str, int] = {}
        in_vain: Counter[str] = Counter()
        detail = ""
        with closing(
            ask_all(
                self._endpoint(), questions, concurrency=self.concurrency, deadline=self.deadline
            )
        ) as replies:
            for question, reply in replies:
                value = _rating(reply.answer)
                self._count(reply, value)
                if value is not None:
                    ratings[question] = value
                    _keep(store, question, reply)
                if reply.answer is not None:
                    alone = False
                else:
                    in_vain[reply.reason or ""] += 1
                    detail = reply.detail
                if alone and in_vain.total() == GIVE_UP:
                    break
        if alone:
            raise UnavailableError(self._nothing_answered(in_vain, detail))
        return ratings

    def _count(self, reply: "Reply", value: int | None) -> None:
        self._counts["requests"] += reply.requests
        if value is None:
            self._failures[reply.reason or "no rating"] += 1

    def _nothing_answered(self, in_vain: Counter[str], detail: str) -> str:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in in_vain.most_common())
        return (
            f"{self.url} answered none of {in_vain.total()} questions to {self.model!r} "
            f"({reasons}; the last: {detail}), each tried up to "
            f"{self.retries + 1} times with {self.timeout:g} s; check that it is up, or give more "
            "timeout, retries or deadline"
        )


def measure(
    judge: EndpointJudge, concepts: ConceptSet, *, seed: int = 0, negatives: int = 40
) -> Reliability:
    """How well a judge's concept rating tells each concept's held-out sentences from others; below
    an AUROC of .9 a concept is refused.

    The others are `negatives` held-out sentences: half of them neutral, half of other concepts (all
    neutral if there are none), drawn anew for every concept. Sentences whose rating failed are left
    out; the judge's `usage` counts them. A concept of which none is left has NaN and is refused.
    The control is the mean AUROC with shuffled labels.

    Raises:
        InputError: `negatives` is below 2, or a concept or the neutral ones have no held-out
            sentence, or there is no key.
        UnavailableError: the endpoint refuses to be asked, or nothing was answered at all.

    Cost: one request per concept and sentence: concepts × (20 + `negatives`) for the concepts that
    ship with the package.

    Example:
        >>> measure(judge, interp.load_concepts()).by_concept
    """
    _require_measurable(concepts, negatives)
    generator = np.random.default_rng(seed)
    cases = {
        concept.name: (concept.held_out, _others(concepts, concept.name, negatives, generator))
        for concept in concepts.concepts
    }
    questions = {
        name: [judge._about(text, name) for text in (*own, *others)]
        for name, (own, others) in cases.items()
    }
    ratings = judge._ratings(question for asked in questions.values() for question in asked)
    by_concept, chance = {}, []
    for name, asked in questions.items():
        scores, positive = _column(asked, ratings), np.arange(len(asked)) < len(cases[name][0])
        by_concept[name] = _auroc(scores, positive)
        chance.append(_auroc(scores, generator.permutation(positive)))
    return reliability_of(by_concept, np.array(chance), seed)


def _require_measurable(concepts: ConceptSet, negatives: int) -> None:
    if negatives < 2:
        raise InputError(
            f"negatives is {negatives}; give at least 2 sentences to tell a concept from"
        )
    for concept in (*concepts.concepts, concepts.neutral):
        if not concept.held_out:
            raise InputError(
                f"{concept.name!r} has no held-out sentence to measure the judge on; give it some"
            )


def _others(
    concepts: ConceptSet, name: str, count: int, generator: np.random.Generator
) -> tuple[str, ...]:
    foreign = [
        text for concept in concepts.concepts if concept.name != name for text in concept.held_out
    ]
    drawn = _draw(foreign, count // 2, generator)
    return (*drawn, *_draw(concepts.neutral.held_out, count - len(drawn), generator))


def _draw(texts: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    return [texts[number] for number in generator.permutation(len(texts))[:count]]


def _keep(store: AnswerStore | None, question: str, reply: "Reply") -> None:
    if store is not None and reply.answer is not None:
        store.put(question, reply.answer)


def _rating(answer: str | None) -> int | None:
    return None if answer is None else rating(answer)


def _column(
    questions: Sequence[str | None], ratings: Mapping[str, int]
) -> Float[np.ndarray, " text"]:
    """The rating of every question, NaN where there is none; 0 where an empty text left nothing to
    ask.
    """
    return np.array(
        [
            0.0 if question is None else float(ratings.get(question, np.nan))
            for question in questions
        ]
    )


def _auroc(scores: Float[np.ndarray, " case"], positive: Bool[np.ndarray, " case"]) -> float:
    kept = ~np.isnan(scores)
    if not positive[kept].any() or positive[kept].all():
        return float("nan")
    return float(auroc_many(scores[kept][:, None], positive[kept])[0])
