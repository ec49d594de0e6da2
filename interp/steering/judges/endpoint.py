"""A judge behind an OpenAI-compatible endpoint: two ratings per text from a language model."""

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
"""After this many questions with no answer the endpoint is taken to be down, which retrying all
would take hours to find.
"""


@dataclass(frozen=True)
class Usage:
    """A judge's work so far: distinct questions, how many were cached, requests sent, and failures
    by reason.
    """

    questions: int
    from_cache: int
    requests: int
    failures: dict[str, int]


@dataclass(frozen=True)
class EndpointJudge:
    """Concept and fluency, each rated 0, 1 or 2 by a language model at temperature 0 in its own
    question.

    The scale is AxBench's in our words (Wu et al. 2025; without its third rating, of following an
    instruction, which a continuation does not): concept 0 absent, 1 in part or out of place, 2
    plainly and naturally there; fluency 0 gibberish, 1 odd, 2 smooth. The model explains itself and
    ends with `Rating: [[n]]`; nothing else counts as a rating. An empty text scores 0 in both
    without a request. A text with an unrated question is failed.

    Args:
        url: the base address, such as `https://host/v1`; `/chat/completions` is appended.
        model: its name there.
        key_from: the environment variable with the key, read at each call and not stored; None
            sends no key.
        concurrency: maximal number of simultaneous requests.
        timeout: seconds for one request.
        retries: attempts after the first (see `ask`).
        backoff: about the seconds before the second attempt; doubled each time.
        deadline: seconds for one call of `judge`; texts without an answer by then are failed.
        max_tokens: of an answer.
        seed: of the jitter in the waits.
        descriptions: what a concept's name stands for, where the name does not say.
        cache: a folder for rated answers, which are not requested again, even after a killed run.
        reliability: from `measured`; without it the judge refuses no concept.

    Raises:
        InputError: an argument is out of range, or a key would go unencrypted to another machine.

    Cost: one short request per distinct text and concept, and one per distinct prompt and text.

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
        """The judge in words, for a report."""
        return (
            f"language model: {self.model} at {urllib.parse.urlsplit(self.url).hostname}; concept "
            "and fluency rated 0 to 2"
        )

    @property
    def usage(self) -> Usage:
        """The work so far, over all calls."""
        counts = self._counts
        return Usage(
            counts["questions"], counts["from_cache"], counts["requests"], dict(self._failures)
        )

    @property
    def failures(self) -> dict[str, int]:
        """The number of questions without a rating so far, by reason."""
        return self.usage.failures

    def judge(
        self, prompts: Sequence[str], texts: Sequence[str], concepts: Sequence[str]
    ) -> Judgement:
        """Scores of continuations, each for its own concept.

        Raises:
            InputError: the judge refuses a concept, or there is no key.
            UnavailableError: the endpoint refuses requests or answers none, or the cache cannot be
                written.
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
        # Text by text, so that an interrupted call has whole judgements.
        ratings = self._ratings(
            question for both in zip(about, reading, strict=True) for question in both
        )
        found, fluent = _column(about, ratings), _column(reading, ratings)
        failed = np.isnan(found) | np.isnan(fluent)
        return Judgement(np.where(failed, np.nan, found), np.where(failed, np.nan, fluent), failed)

    def measured(self, concepts: ConceptSet, *, seed: int = 0) -> "EndpointJudge":
        """This judge with its reliability (see `measure`), so that it refuses concepts it cannot
        tell apart.

        The new judge's `usage` includes the measurement.
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
        """Ratings from the cache, then from the endpoint."""
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
        return (
            {**ratings, **self._requested(missing, store, alone=not ratings)}
            if missing
            else ratings
        )

    def _requested(
        self, questions: Sequence[str], store: AnswerStore | None, *, alone: bool
    ) -> dict[str, int]:
        """Ratings from the endpoint; without any others (`alone`), no answer at all is an error."""
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
    an AUROC of 0.9 a concept is refused.

    The others are `negatives` held-out sentences, drawn per concept: half neutral, half of other
    concepts (all neutral if there are none). Sentences whose rating failed are left out and counted
    in the judge's `usage`; a concept with none left has NaN and is refused. The control is the mean
    AUROC with permuted labels.

    Raises:
        InputError: `negatives` is below 2, a concept or the neutral set has no held-out sentence,
            or there is no key.
        UnavailableError: the endpoint refuses requests or answers none.

    Cost: one request per concept and sentence: `concepts·(20 + negatives)` for the packaged
    concepts.

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
    ratings = judge._ratings(question for own in questions.values() for question in own)
    by_concept, chance = {}, []
    for name, own in questions.items():
        scores, positive = _column(own, ratings), np.arange(len(own)) < len(cases[name][0])
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
    """Each question's rating, NaN if none; 0 for an empty text, which has no question."""
    return np.array([0.0 if one is None else float(ratings.get(one, np.nan)) for one in questions])


def _auroc(scores: Float[np.ndarray, " case"], positive: Bool[np.ndarray, " case"]) -> float:
    kept = ~np.isnan(scores)
    if not positive[kept].any() or positive[kept].all():
        return float("nan")
    return float(auroc_many(scores[kept][:, None], positive[kept])[0])
