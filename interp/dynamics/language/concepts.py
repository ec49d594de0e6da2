"""Concepts that the next token shows: agreement, a lexical category, induction; made for any
tokenizer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from interp.capture import Hook, Model
from interp.core import InputError, Score
from interp.detection.auroc import auroc
from interp.dynamics.language import words

FEWEST_WORDS = 4
READABLE = 0.7
REPEATED = 16
CUE = 8
BATCH = 64

Prompt = tuple[int, ...]


@dataclass(frozen=True)
class Questions:
    """Prompts as token ids, and for each the right next tokens and the foils."""

    prompts: tuple[Prompt, ...]
    right: tuple[Prompt, ...]
    foil: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        if (
            not self.prompts
            or not len(self.prompts) == len(self.right) == len(self.foil)
            or not all((*self.right, *self.foil))
        ):
            raise InputError(
                f"{len(self.prompts)} prompts, {len(self.right)} right and {len(self.foil)} "
                "foils; give each prompt some of both"
            )

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True, kw_only=True)
class LanguageConcept:
    """A concept with its labelled examples.

    `positive` prompts call for the concept and `negative` ones do not: they give its direction. The
    questions use other words: `prompted` ones call for it, `unprompted` ones do not, and in
    `steered` ones steering has to bring it about.
    """

    name: str
    positive: tuple[Prompt, ...]
    negative: tuple[Prompt, ...]
    prompted: Questions
    unprompted: Questions
    steered: Questions


@dataclass(frozen=True, eq=False)
class Answers:
    """The probability of the right next tokens and of the foils, for every question."""

    right: Float[np.ndarray, " question"]
    foil: Float[np.ndarray, " question"]

    @property
    def share(self) -> Float[np.ndarray, " question"]:
        """`right / (right + foil)`, from 0 to 1."""
        return np.asarray(self.right / (self.right + self.foil))

    @property
    def log_right(self) -> Float[np.ndarray, " question"]:
        """The log-probability of the right tokens."""
        return np.asarray(np.log(self.right))


@torch.no_grad()
def answers(model: Model, questions: Questions, hooks: dict[str, Hook] | None = None) -> Answers:
    """What a model expects after every prompt, optionally with hooks.

    Cost: one forward pass over the prompts.

    Example:
        >>> answers(model, concept.prompted).share.mean()
    """
    right, foil = np.zeros(len(questions)), np.zeros(len(questions))
    for batch in model.prepare([list(prompt) for prompt in questions.prompts], BATCH).batches:
        logits = model.run(batch, hooks or {})
        last = torch.as_tensor(batch.keep).sum(dim=1) - 1
        probabilities = logits[torch.arange(len(last)), last].double().softmax(dim=-1).cpu()
        for row, item in enumerate(batch.items.tolist()):
            right[item] = float(probabilities[row, list(questions.right[item])].sum())
            foil[item] = float(probabilities[row, list(questions.foil[item])].sum())
    tiny = np.finfo(np.float64).tiny
    return Answers(right.clip(tiny), foil.clip(tiny))


def naive(model: Model, concept: LanguageConcept) -> Float[np.ndarray, " question"]:
    """The share of the right continuation, from 0 to 1, for every held-out prompt."""
    return answers(model, concept.prompted).share


def readers(
    concepts: Sequence[LanguageConcept],
) -> dict[str, Callable[[Model], Float[np.ndarray, " question"]]]:
    """The axes of concept space: by name, what reads a concept's coordinate (a value from 0 to 1
    per question) off a model.

    Example:
        >>> {
        ...     name: read(model).mean()
        ...     for name, read in readers(language_concepts(model.tokenizer)).items()
        ... }
    """
    return {concept.name: partial(naive, concept=concept) for concept in concepts}


def readability(model: Model, concept: LanguageConcept, *, seed: int = 0) -> Score:
    """The AUROC with which the right continuation's share tells prompts that call for the concept
    from others.
    """
    calling = answers(model, concept.prompted).share
    other = answers(model, concept.unprompted).share
    labels = np.arange(len(calling) + len(other)) < len(calling)
    return auroc(np.concatenate([calling, other]), labels, seed=seed, control=0.5)


def require_readable(
    model: Model, concepts: Sequence[LanguageConcept], *, at_least: float = READABLE, seed: int = 0
) -> dict[str, Score]:
    """The readability of every concept in a model that should know it (the last checkpoint's).

    Raises:
        InputError: a concept's AUROC is less than `at_least`; the message holds it.
    """
    scores = {concept.name: readability(model, concept, seed=seed) for concept in concepts}
    for name, score in scores.items():
        if score.value < at_least:
            raise InputError(
                f"{name!r} is not told apart by its reader: AUROC {score}, expected {at_least}; "
                "leave it out or train longer"
            )
    return scores


def language_concepts(tokenizer: Any, *, n: int = 48, seed: int = 0) -> tuple[LanguageConcept, ...]:
    """Four concepts: an article's agreement, a verb's number, names of places, induction.

    - `article`: after "an" a word that begins with a vowel; foil: with a consonant.
    - `number`: after "they" or "the plants" a plural verb; foil: a singular one.
    - `place`: after "native to" the name of a part of the world; foil: common nouns.
    - `induction`: in a repeated sequence of random words the one that followed before; foil:
      another of the sequence. Steering acts where only one word is repeated.

    Only words that are single tokens serve as continuations.

    Args:
        n: prompts of every kind (fewer if there are not enough words).

    Raises:
        InputError: too few of a concept's words are single tokens; the message names it.

    Example:
        >>> language_concepts(model.tokenizer)[0].name
        'article'
    """
    return (
        article_concept(tokenizer, n=n, seed=seed),
        number_concept(tokenizer, n=n, seed=seed),
        place_concept(tokenizer, n=n, seed=seed),
        induction_concept(tokenizer, n=n, seed=seed),
    )


def article_concept(tokenizer: Any, *, n: int = 48, seed: int = 0) -> LanguageConcept:
    """A word that begins with a vowel after "an"; see `language_concepts`."""
    known = _whole_words(tokenizer)
    # "a unit" and "an hour": by their letters alone u and h do not say how a word begins.
    vowel = tuple(token for token, word in known.items() if word[0] in "aeio" and word != "one")
    consonant = tuple(token for token, word in known.items() if word[0] in "bcdfgjklmnpqrstvwyz")
    _require_words("article", vowel, consonant)
    stems = (words.ARTICLE_FRONTS, words.ARTICLE_OPENERS)
    return _from_texts(
        tokenizer,
        "article",
        calling=_texts(stems, ("an",)),
        neutral=_texts(stems, ("a",)),
        right=vowel,
        foil=consonant,
        n=n,
        seed=seed,
    )


def number_concept(tokenizer: Any, *, n: int = 48, seed: int = 0) -> LanguageConcept:
    """A plural verb after a plural subject; see `language_concepts`."""
    plural = _tokens(tokenizer, words.PLURAL_VERBS)
    singular = _tokens(tokenizer, words.SINGULAR_VERBS)
    _require_words("number", plural, singular, fewest=2)
    return _from_texts(
        tokenizer,
        "number",
        calling=_texts((words.NUMBER_FRONTS, words.PLURAL_SUBJECTS), ("",)),
        neutral=_texts((words.NUMBER_FRONTS, words.SINGULAR_SUBJECTS), ("",)),
        right=plural,
        foil=singular,
        n=n,
        seed=seed,
    )


def place_concept(tokenizer: Any, *, n: int = 48, seed: int = 0) -> LanguageConcept:
    """The name of a part of the world; see `language_concepts`."""
    places, nouns = _tokens(tokenizer, words.PLACES), _tokens(tokenizer, words.NOUNS)
    _require_words("place", places, nouns)
    return _from_texts(
        tokenizer,
        "place",
        calling=_texts((words.LIVING, words.PLACE_CUES), ("",)),
        neutral=_texts((words.LIVING, words.OTHER_CUES), ("",)),
        right=places,
        foil=nouns,
        n=n,
        seed=seed,
    )


def induction_concept(tokenizer: Any, *, n: int = 48, seed: int = 0) -> LanguageConcept:
    """The next word of a repeated random sequence; see `language_concepts`."""
    known = list(_whole_words(tokenizer))
    _require_words("induction", known, known, fewest=4 * REPEATED)
    generator = np.random.default_rng([seed, 3])
    rows = [generator.choice(known, 2 * REPEATED, replace=False).tolist() for _ in range(6 * n)]
    start = _start(tokenizer)
    first = [row[:REPEATED] for row in rows]
    fresh = [row[REPEATED : REPEATED + CUE] for row in rows]
    repeated = [(*start, *row, *row[:CUE]) for row in first]
    other = [(*start, *row, *new) for row, new in zip(first, fresh, strict=True)]
    weak = [(*start, *row, row[CUE - 1]) for row in first]
    right = [(row[CUE],) for row in first]
    # A word not yet repeated, so that its frequency gives nothing away.
    foil = [(row[int(generator.integers(CUE + 1, REPEATED))],) for row in first]
    return LanguageConcept(
        name="induction",
        positive=tuple(repeated[: 2 * n]),
        negative=tuple(other[2 * n : 4 * n]),
        prompted=_questions(repeated, right, foil, slice(4 * n, 5 * n)),
        unprompted=_questions(other, right, foil, slice(5 * n, 6 * n)),
        steered=_questions(weak, right, foil, slice(4 * n, 5 * n)),
    )


def _from_texts(
    tokenizer: Any,
    name: str,
    *,
    calling: list[list[str]],
    neutral: list[list[str]],
    right: Prompt,
    foil: Prompt,
    n: int,
    seed: int,
) -> LanguageConcept:
    """A concept from texts in two halves without common middle words: for direction, questions."""
    generator = np.random.default_rng([seed, 2])
    sets = [
        [_drawn(tokenizer, half, n, generator) for half in texts] for texts in (calling, neutral)
    ]
    (positive, prompted), (negative, unprompted) = sets
    neutral_questions = Questions(unprompted, (right,) * len(unprompted), (foil,) * len(unprompted))
    return LanguageConcept(
        name=name,
        positive=positive,
        negative=negative,
        prompted=Questions(prompted, (right,) * len(prompted), (foil,) * len(prompted)),
        unprompted=neutral_questions,
        steered=neutral_questions,
    )


def _texts(stems: tuple[Sequence[str], Sequence[str]], endings: Sequence[str]) -> list[list[str]]:
    """All combinations, in two halves by the second word."""
    fronts, middles = stems
    return [
        [" ".join(part for part in parts if part) for parts in product(fronts, half, endings)]
        for half in (middles[::2], middles[1::2])
    ]


def _drawn(
    tokenizer: Any, texts: list[str], n: int, generator: np.random.Generator
) -> tuple[Prompt, ...]:
    chosen = [texts[place] for place in generator.permutation(len(texts))[:n]]
    return tuple(
        (*_start(tokenizer), *tokenizer(text, add_special_tokens=False)["input_ids"])
        for text in chosen
    )


def _questions(
    prompts: Sequence[Prompt], right: Sequence[Prompt], foil: Sequence[Prompt], rows: slice
) -> Questions:
    return Questions(tuple(prompts[rows]), tuple(right[rows]), tuple(foil[rows]))


def _start(tokenizer: Any) -> Prompt:
    """The token before a text in training, as the first position is unlike all others."""
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return () if token is None else (int(token),)


def _tokens(tokenizer: Any, wanted: Sequence[str]) -> Prompt:
    """The ids of the words that are one token after a space."""
    encoded = (tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in wanted)
    return tuple(int(ids[0]) for ids in encoded if len(ids) == 1)


def _whole_words(tokenizer: Any) -> dict[int, str]:
    """Every token that is a space and at least two lower-case letters."""
    decoded = ((token, tokenizer.decode([token])) for token in range(len(tokenizer)))
    return {
        token: text[1:]
        for token, text in decoded
        if text[:1] == " "
        and len(text) > 2
        and text[1:].isascii()
        and text[1:].islower()
        and text[1:].isalpha()
    }


def _require_words(
    name: str, right: Sequence[int], foil: Sequence[int], fewest: int = FEWEST_WORDS
) -> None:
    if len(right) < fewest or len(foil) < fewest:
        raise InputError(
            f"{name!r} needs {fewest} words that are single tokens on either side, this tokenizer "
            f"has {len(right)} and {len(foil)}; use a tokenizer with a larger vocabulary, or leave "
            "the concept out"
        )
