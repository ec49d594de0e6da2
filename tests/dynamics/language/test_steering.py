"""Arms differ only in where they point: a turned final checkpoint, transported, gives the own arm
back; zero strength gives nothing.
"""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import WIDTH, language, word_tokenizer
from torch import Tensor

from interp.core import InputError
from interp.dynamics.language.concepts import LanguageConcept, Questions, answers
from interp.dynamics.language.steering import (
    AtLastToken,
    ConceptActivations,
    concept_activations,
    steer_concept,
)
from interp.dynamics.transport import fit_transport
from interp.models import TransformerModel

SITE = "L1.resid_post"
RIGHT, FOIL = (10, 11, 12), (20, 21, 22)


@pytest.fixture(scope="module")
def model() -> TransformerModel:
    return TransformerModel(language("gpt2"), word_tokenizer())


@pytest.fixture(scope="module")
def concept() -> LanguageConcept:
    generator = np.random.default_rng(0)

    def prompts(last: int, count: int = 40) -> tuple[tuple[int, ...], ...]:
        return tuple(
            (0, *generator.integers(30, 300, generator.integers(2, 6)).tolist(), last)
            for _ in range(count)
        )

    questions = Questions(prompts(5, 8), (RIGHT,) * 8, (FOIL,) * 8)
    return LanguageConcept(
        name="planted",
        positive=prompts(4),
        negative=prompts(5),
        prompted=questions,
        unprompted=questions,
        steered=questions,
    )


def turned(acts: ConceptActivations, turn: Tensor) -> ConceptActivations:
    return ConceptActivations(acts.positive @ turn, acts.negative @ turn)


def rotation() -> Tensor:
    drawn = torch.randn(
        WIDTH, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    return torch.linalg.qr(drawn).Q.float()


def test_a_turned_final_checkpoint_steers_like_the_own_direction_once_transported(
    model: TransformerModel, concept: LanguageConcept
) -> None:
    here = concept_activations(model, concept, SITE)
    effects = steer_concept(
        model, concept, SITE, final=turned(here, rotation()), factors=(1.0, 3.0)
    )
    assert effects["transported"].shares == pytest.approx(effects["own"].shares, abs=1e-4)
    assert effects["transported"].shifts == pytest.approx(effects["own"].shifts, abs=1e-3)
    assert effects["final"].shifts != pytest.approx(effects["own"].shifts, abs=0.05)
    given = steer_concept(
        model,
        concept,
        SITE,
        final=here,
        transport=fit_transport(here.positive, here.positive),
        factors=(1.0,),
    )
    assert given["transported"].shifts == pytest.approx(given["final"].shifts, abs=1e-4)


def test_own_is_adding_the_difference_of_means_at_the_last_token(
    model: TransformerModel, concept: LanguageConcept
) -> None:
    difference = concept_activations(model, concept, SITE).difference
    effects = steer_concept(model, concept, SITE, factors=(2.0,))
    assert set(effects) == {"naive", "own", "random"}
    for row, prompt in enumerate(concept.steered.prompts):

        def add(value: Tensor, call: Any) -> Tensor:
            shift = torch.zeros_like(value)
            shift[:, -1] = 2 * difference
            return value + shift

        logits = model.run([list(prompt)], {SITE: add})
        assert logits is not None
        probabilities = logits[0, -1].detach().double().softmax(dim=0)
        right, foil = (
            float(probabilities[list(RIGHT)].sum()),
            float(probabilities[list(FOIL)].sum()),
        )
        assert effects["own"].shares[0, row] == pytest.approx(right / (right + foil), rel=1e-4)


def test_no_strength_no_effect(model: TransformerModel, concept: LanguageConcept) -> None:
    effects = steer_concept(model, concept, SITE, factors=(0.0,))
    for effect in effects.values():
        assert effect.shares[0] == pytest.approx(answers(model, concept.steered).share, rel=1e-6)
        assert effect.shifts[0] == pytest.approx(np.zeros(8), abs=1e-6)


def test_only_the_last_token_of_each_prompt_is_changed(model: TransformerModel) -> None:
    kept: dict[str, Tensor] = {}
    batch = model.prepare([[0, 5, 6, 7], [0, 8]], 2).batches[0]
    hook = AtLastToken(torch.ones(WIDTH))

    def watching(value: Tensor, call: Any) -> Tensor:
        kept["before"], kept["after"] = value, hook(value, call)
        return kept["after"]

    model.run(batch, {SITE: watching})
    changed = (kept["after"] != kept["before"]).any(dim=2)
    assert changed.sum(dim=1).tolist() == [1, 1]
    assert changed.int().argmax(dim=1).tolist() == [int(keep.sum()) - 1 for keep in batch.keep]  # type: ignore[union-attr]


def test_the_best_factor_and_scores(model: TransformerModel, concept: LanguageConcept) -> None:
    effect = steer_concept(model, concept, SITE, factors=(0.0, 1.0, 4.0))["own"]
    means = effect.shares.mean(axis=1)
    assert effect.best == int(means.argmax())
    assert effect.share().value == pytest.approx(means.max())
    assert effect.share(factor=0).value == pytest.approx(means[0])
    score = effect.shift(factor=1, control=0.25)
    assert (score.value, score.control, score.n) == (
        pytest.approx(effect.shifts[1].mean()),
        0.25,
        8,
    )


def test_equal_means_are_refused(model: TransformerModel, concept: LanguageConcept) -> None:
    same = LanguageConcept(
        name="same",
        positive=concept.positive,
        negative=concept.positive,
        prompted=concept.prompted,
        unprompted=concept.unprompted,
        steered=concept.steered,
    )
    with pytest.raises(InputError, match="equal"):
        steer_concept(model, same, SITE)
