"""Concepts are made of the tokenizer's words, their splits share nothing, their reader is exact and
refuses what it cannot tell.
"""

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from tiny import language
from torch import Tensor

from interp.capture import Model
from interp.core import InputError
from interp.dynamics.language import words
from interp.dynamics.language.concepts import (
    LanguageConcept,
    Questions,
    answers,
    language_concepts,
    naive,
    readability,
    readers,
    require_readable,
)
from interp.models import TransformerModel
from interp.testbeds.language.data import train_tokenizer

OTHERS = (
    "apple orange under open even early idea island river stone bread table winter summer "
    "garden silver copper paper letter window"
)
VOCABULARY = 700


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    spoken = [value for name, value in vars(words).items() if name.isupper()]
    texts = [f" {word}" for word in chain(*spoken, OTHERS.split())]
    return train_tokenizer(texts * 20, VOCABULARY)


@pytest.fixture(scope="module")
def concepts(tokenizer: Any) -> dict[str, LanguageConcept]:
    return {concept.name: concept for concept in language_concepts(tokenizer, n=12)}


@pytest.fixture(scope="module")
def untrained(tokenizer: Any) -> TransformerModel:
    return TransformerModel(language("gpt2", vocabulary=len(tokenizer)), tokenizer)


class Copier(TransformerModel):
    """A network that expects exactly what followed the present token before, and everything else
    equally.
    """

    def run(
        self,
        inputs: Any,
        hooks: Any = {},  # noqa: B006
        *,
        stop_after: Any = None,
        logits_to_keep: int = 0,
    ) -> Tensor:
        ids = inputs.inputs["input_ids"]
        logits = torch.zeros(*ids.shape, VOCABULARY)
        for row, sequence in enumerate(ids.tolist()):
            for place, token in enumerate(sequence):
                for before in range(place):
                    if sequence[before] == token:
                        logits[row, place, sequence[before + 1]] = 10
        return logits


def starts(tokenizer: Any, tokens: tuple[int, ...]) -> set[str]:
    return {tokenizer.decode([token])[1] for token in tokens}


def test_continuations_are_what_the_concept_says(
    tokenizer: Any, concepts: dict[str, LanguageConcept]
) -> None:
    article = concepts["article"].prompted
    assert starts(tokenizer, article.right[0]) <= set("aeio")
    assert not starts(tokenizer, article.foil[0]) & set("aeiouh")
    assert {tokenizer.decode([token]) for token in concepts["number"].prompted.right[0]} == {
        " are",
        " have",
        " were",
    }
    assert {
        tokenizer.decode([token]).strip() for token in concepts["place"].prompted.right[0]
    } <= set(words.PLACES)
    for concept in concepts.values():
        for questions in (concept.prompted, concept.unprompted, concept.steered):
            assert all(
                not set(right) & set(foil)
                for right, foil in zip(questions.right, questions.foil, strict=True)
            )


def test_prompts_call_for_the_concept_or_do_not(
    tokenizer: Any, concepts: dict[str, LanguageConcept]
) -> None:
    def last(prompts: tuple[tuple[int, ...], ...]) -> set[str]:
        return {tokenizer.decode(prompt).split()[-1] for prompt in prompts}

    assert (
        last(concepts["article"].positive) == last(concepts["article"].prompted.prompts) == {"an"}
    )
    assert (
        last(concepts["article"].negative) == last(concepts["article"].unprompted.prompts) == {"a"}
    )
    assert not last(concepts["number"].positive) & last(concepts["number"].negative)
    assert not last(concepts["place"].positive) & last(concepts["place"].negative)


def test_held_out_prompts_share_no_subject_with_those_of_the_direction(
    concepts: dict[str, LanguageConcept], tokenizer: Any
) -> None:
    for name in ("article", "place", "number"):
        concept = concepts[name]
        assert not set(concept.positive) & set(concept.prompted.prompts)
        assert not set(concept.negative) & set(concept.unprompted.prompts)
    subjects = {tokenizer.decode(prompt).split()[-1] for prompt in concepts["number"].positive} - {
        "plants",
        "people",
    }
    assert not subjects & {
        tokenizer.decode(prompt).split()[-1] for prompt in concepts["number"].prompted.prompts
    }


def test_induction_asks_for_what_followed_before(concepts: dict[str, LanguageConcept]) -> None:
    concept = concepts["induction"]
    for questions, cue in ((concept.prompted, 8), (concept.steered, 1)):
        for prompt, (right,), (foil,) in zip(
            questions.prompts, questions.right, questions.foil, strict=True
        ):
            first = prompt[1:17]
            place = first.index(prompt[-1])
            assert len(prompt) == 17 + cue
            assert first[place + 1] == right
            assert foil in first
            assert foil not in prompt[17:]
    for prompt in (*concept.unprompted.prompts, *concept.negative):
        assert len(set(prompt)) == len(prompt)


def test_a_network_that_copies_is_read_as_induction_and_as_nothing_else(
    tokenizer: Any, concepts: dict[str, LanguageConcept]
) -> None:
    copier = Copier(language("gpt2", vocabulary=len(tokenizer)), tokenizer)
    assert naive(copier, concepts["induction"]).min() > 0.999
    assert readability(copier, concepts["induction"]).value == 1
    assert readers([concepts["induction"]])["induction"](copier) == pytest.approx(
        naive(copier, concepts["induction"])
    )
    assert answers(copier, concepts["induction"].unprompted).share == pytest.approx(
        np.full(12, 0.5)
    )
    with pytest.raises(
        InputError, match=r"'article' is not told apart by its reader: AUROC 0\.[0-6]"
    ):
        require_readable(copier, [concepts["induction"], concepts["article"]])


def test_answers_are_the_softmax_after_the_last_token_whatever_the_padding(
    untrained: Model, concepts: dict[str, LanguageConcept]
) -> None:
    questions = concepts["number"].prompted
    together = answers(untrained, questions)
    for row, prompt in enumerate(questions.prompts):
        logits = untrained.run([list(prompt)])
        expected = logits[0, -1].detach().double().softmax(dim=0)
        assert together.right[row] == pytest.approx(
            float(expected[list(questions.right[row])].sum()), rel=1e-4
        )
        assert together.foil[row] == pytest.approx(
            float(expected[list(questions.foil[row])].sum()), rel=1e-4
        )
    assert together.share == pytest.approx(together.right / (together.right + together.foil))
    assert together.log_right == pytest.approx(np.log(together.right))


def test_an_untrained_network_is_refused_with_its_auroc(
    untrained: Model, concepts: dict[str, LanguageConcept]
) -> None:
    with pytest.raises(
        InputError,
        match=r"'induction' is not told apart by its reader: AUROC 0\.\d+ .*expected 0\.9",
    ):
        require_readable(untrained, [concepts["induction"]], at_least=0.9)


def test_a_tokenizer_without_the_words_is_refused() -> None:
    with pytest.raises(InputError, match="single tokens"):
        language_concepts(train_tokenizer(["the sea was calm"], 260))


def test_the_seed_decides_which_prompts(
    tokenizer: Any, concepts: dict[str, LanguageConcept]
) -> None:
    assert language_concepts(tokenizer, n=12) == tuple(concepts.values())
    assert language_concepts(tokenizer, n=12, seed=1)[0].positive != concepts["article"].positive


def test_questions_without_a_foil_are_refused() -> None:
    with pytest.raises(InputError, match="give each prompt some of both"):
        Questions(((1, 2),), ((3,),), ((),))
