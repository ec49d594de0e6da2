"""Equal checkpoints give equal numbers everywhere; the last one is like itself; each is loaded when
it is needed and in order.
"""

from functools import partial

import numpy as np
import pytest
from tiny import language, word_tokenizer

from interp.core import InputError
from interp.dynamics.checkpoints import Checkpoint
from interp.dynamics.feature_births import BirthRule
from interp.dynamics.language.concepts import LanguageConcept, Questions, naive
from interp.dynamics.language.features import track_features
from interp.dynamics.language.tracking import LanguageTrack, track_language
from interp.models import TransformerModel

SITE = "L1.resid_post"
SEEDS = {0: 3, 10: 1, 20: 0, 30: 0}
"""Steps and the seeds of their weights: the last two checkpoints are equal."""


def load(step: int, loaded: list[int]) -> TransformerModel:
    loaded.append(step)
    return TransformerModel(language("gpt2", seed=SEEDS[step]), word_tokenizer())


def point(step: int, loaded: list[int]) -> Checkpoint:
    return Checkpoint(step, partial(load, step, loaded))


def steps(loaded: list[int]) -> list[Checkpoint]:
    return [point(step, loaded) for step in SEEDS]


def prompts(last: int, seed: int, count: int = 30) -> tuple[tuple[int, ...], ...]:
    generator = np.random.default_rng(seed)
    return tuple((0, *generator.integers(30, 300, 4).tolist(), last) for _ in range(count))


def questions(last: int, seed: int) -> Questions:
    return Questions(prompts(last, seed, 8), ((10, 11),) * 8, ((20, 21),) * 8)


CONCEPT = LanguageConcept(
    name="planted",
    positive=prompts(4, 0),
    negative=prompts(5, 1),
    prompted=questions(4, 2),
    unprompted=questions(5, 3),
    steered=questions(5, 3),
)
TEXTS = [
    " ".join(f"w{word}" for word in row)
    for row in np.random.default_rng(5).integers(30, 300, (12, 15))
]


@pytest.fixture(scope="module")
def tracked() -> tuple[LanguageTrack, list[int]]:
    loaded: list[int] = []
    return track_language(steps(loaded), [CONCEPT], TEXTS, SITE, factors=(1.0, 2.0)), loaded


def test_each_checkpoint_is_loaded_in_turn_after_the_last(
    tracked: tuple[LanguageTrack, list[int]],
) -> None:
    assert tracked[1] == [30, 0, 10, 20, 30]


def test_equal_checkpoints_give_equal_numbers(tracked: tuple[LanguageTrack, list[int]]) -> None:
    track = tracked[0]
    concept = track.concept("planted")
    for values in (concept.naive, *concept.steered.values(), *concept.shifts.values()):
        assert values[2] == pytest.approx(values[3])
        assert not np.allclose(values[1], values[3]) or values is concept.shifts["naive"]
    assert concept.naive[0] == pytest.approx(naive(steps([])[0].load(), CONCEPT))


def test_the_last_checkpoint_is_like_itself_and_another_is_not(
    tracked: tuple[LanguageTrack, list[int]],
) -> None:
    track = tracked[0]
    assert track.cka[-1] == pytest.approx(1)
    assert track.relative[-1] == pytest.approx(1)
    assert track.transport[-1].value == pytest.approx(track.unmoved[-1].value) == pytest.approx(1)
    assert track.cka[0] < 0.9
    assert track.unmoved[0].value < 0.5
    concept = track.concept("planted")
    assert concept.steered["transported"][-1] == pytest.approx(concept.steered["own"][-1], abs=1e-4)
    assert concept.steered["final"][-1] == pytest.approx(concept.steered["own"][-1])


def test_fixed_and_best_factors_are_told_apart(tracked: tuple[LanguageTrack, list[int]]) -> None:
    concept = tracked[0].concept("planted")
    assert concept.arm("own", 1) == pytest.approx(concept.steered["own"][:, 1])
    assert concept.arm("own").mean(axis=1) == pytest.approx(
        concept.steered["own"].mean(axis=2).max(axis=1)
    )
    shift = concept.shift("own", 2, 0)
    assert shift.value == pytest.approx(concept.shifts["own"][2, 0].mean())
    assert shift.control == pytest.approx(concept.shifts["random"][2, 0].mean())
    assert concept.shift("random", 2, 0).control is None


def test_a_concept_s_feature_is_followed_back_to_its_birth() -> None:
    history, features = track_features(
        steps([]), [CONCEPT], TEXTS, "L1.mlp", n_features=8, sparsity=0.5, rule=BirthRule(hold=2)
    )
    found = features[0]
    assert found.concept == "planted"
    assert found.chain is not None
    # The last two checkpoints are equal and what was before is another network.
    assert history.steps[found.chain.first] == found.born
    assert found.curve[-1] == pytest.approx(found.detects.value)
    assert found.detects.control is not None
    assert found.detects.value > found.detects.control


@pytest.mark.parametrize(("order", "match"), [((10, 0), "rising"), ((0,), "at least two")])
def test_checkpoints_out_of_order_or_alone_are_refused(order: tuple[int, ...], match: str) -> None:
    wrong: list[Checkpoint] = [point(step, []) for step in order]
    with pytest.raises(InputError, match=match):
        track_language(wrong, [CONCEPT], TEXTS, SITE)


def test_no_concepts_and_unknown_ones_are_refused(tracked: tuple[LanguageTrack, list[int]]) -> None:
    with pytest.raises(InputError, match="no concepts"):
        track_language(steps([]), [], TEXTS, SITE)
    with pytest.raises(InputError, match="no concepts"):
        track_features(steps([]), [], TEXTS, "L1.mlp")
    with pytest.raises(InputError, match="there are planted"):
        tracked[0].concept("other")
