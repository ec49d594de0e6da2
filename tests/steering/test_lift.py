"""The likelihood lift of a direction that is known to say a word, of one that says nothing, and of
random ones.
"""

import numpy as np
import pytest
import torch
from hand_made import logprobs

from interp.core import InputError
from interp.steering.lift import likelihood_lift
from interp.steering.targets import Target

SITE = "L1.resid_post"
PROMPTS = ("a ship", "the sea of the")
SENTENCES = {
    "sea": ("the sea of sea", "a sea the sea sea", "of the sea"),
    "ship": ("a ship of ship", "the ship a ship"),
}
NEUTRAL = ("word1 word2 word3 the word4", "word5 of word6", "the a of word7 word8")


def target(direction, concept="sea", site=SITE, name="t"):
    return Target(
        family="family",
        method="method",
        route="native",
        site=site,
        direction=direction,
        concept=concept,
        feature_id=name,
    )


def measured(model, targets, **options):
    return likelihood_lift(
        model, targets, SENTENCES, NEUTRAL, **{"prompts": PROMPTS, "kl": 0.3, **options}
    )


@pytest.fixture(scope="module")
def result(speaker):
    ship = torch.eye(32)[2]
    dense = torch.nn.functional.normalize(torch.eye(32)[0] + 0.01, dim=0)
    targets = [
        target(torch.eye(32)[0]),
        target(-torch.eye(32)[0]),
        target(ship, "ship"),
        target(ship, "sea"),
        target(dense),
    ]
    return measured(speaker, targets)


def test_the_direction_of_a_word_lifts_its_sentences_above_every_random_direction(result):
    for lift in (result.lifts[0], result.lifts[2], result.lifts[4]):
        assert lift.reached
        assert lift.measured_kl == pytest.approx(0.3, rel=0.05)
        assert lift.score.low > 0
        assert lift.percentile > 95
    assert result.lifts[4].percentile == 100
    assert result.lifts[4].p_value == pytest.approx(1 / 51)


def test_the_opposite_direction_and_that_of_another_word_do_not(result):
    for lift in (result.lifts[1], result.lifts[3]):
        assert lift.score.value < 0
        assert lift.percentile < 50


def test_a_sparse_direction_is_held_against_sparse_ones_too(result):
    assert set(result.lifts[0].random) == {"dense", "sparse"}
    assert set(result.lifts[4].random) == {"dense"}
    assert all(len(pool) > 40 for pool in result.lifts[0].random.values())


def test_a_hand_computation(result, speaker, sea):
    changes = []
    for text in result.texts:
        words = text.split()
        ids = speaker.tokenizer.convert_tokens_to_ids(words)
        changes.append(
            np.mean(
                [
                    float(
                        (
                            logprobs(speaker, word, result.lifts[0].alpha * sea)
                            - logprobs(speaker, word, torch.zeros(32))
                        )[following]
                    )
                    for word, following in zip(words[:-1], ids[1:], strict=True)
                ]
            )
        )
    assert result.lifts[0].changes == pytest.approx(changes, rel=1e-3, abs=1e-4)
    own = np.array(result.concept_of) == "sea"
    assert result.concept_of == ("sea",) * 3 + ("ship",) * 2 + ("",) * 3
    assert result.lifts[0].score.value == pytest.approx(
        np.mean(np.array(changes)[own]) - np.mean(np.array(changes)[~own]), rel=1e-3
    )


def test_random_directions_are_at_no_particular_percentile(speaker):
    some = torch.randn(60, 32, generator=torch.Generator().manual_seed(99))
    percentiles = np.array(
        [lift.percentile for lift in measured(speaker, [target(row) for row in some]).lifts]
    )
    assert 35 < percentiles.mean() < 65
    assert (percentiles < 20).any()
    assert (percentiles > 80).any()


def test_a_target_has_the_same_lift_alone_and_beside_others(result, speaker):
    (alone,) = measured(speaker, [target(torch.eye(32)[2], "ship")]).lifts
    assert alone.score.value == pytest.approx(result.lifts[2].score.value, rel=0.05)
    assert alone.random["dense"] == pytest.approx(
        result.lifts[2].random["dense"], rel=0.05, abs=0.02
    )


def test_a_direction_without_effect_lifts_nothing(speaker):
    # The down projection of this model is zero, so nothing at its input has an effect, nor can a
    # random direction reach any strength.
    (lift,) = measured(
        speaker, [target(torch.ones(8), site="L0.mlp")], alphas=[3.0], n_random=4
    ).lifts
    assert (lift.score.value, lift.score.low, lift.score.high, lift.measured_kl) == (
        0.0,
        0.0,
        0.0,
        0.0,
    )
    assert lift.n_random == 0
    assert np.isnan(lift.percentile)
    (unreached,) = measured(speaker, [target(torch.ones(8), site="L0.mlp")], n_random=4).lifts
    assert not unreached.reached
    assert unreached.score is None


def test_given_strengths_are_used_and_measured(result, speaker):
    first = result.lifts[0]
    (again,) = measured(speaker, [target(5 * torch.eye(32)[0])], alphas=[first.alpha]).lifts
    assert again.changes == pytest.approx(first.changes, rel=1e-4, abs=1e-5)
    assert again.measured_kl == pytest.approx(first.measured_kl, rel=1e-2)
    assert again.percentile == first.percentile


def test_sentences_are_taken_at_even_distances(speaker):
    found = measured(
        speaker, [target(torch.eye(32)[0])], alphas=[0.0], n_random=1, n_sentences=2, n_neutral=1
    )
    assert found.texts == (
        "the sea of sea",
        "of the sea",
        "a ship of ship",
        "the ship a ship",
        NEUTRAL[0],
    )


def test_bad_input_is_named_in_one_line(speaker):
    good = target(torch.eye(32)[0])
    for call, complaint in [
        (lambda: measured(speaker, []), "no targets"),
        (
            lambda: measured(speaker, [target(torch.ones(32), "cooking")]),
            "no sentences of 'cooking'",
        ),
        (
            lambda: measured(speaker, [good], alphas=[1.0, 2.0]),
            "2 strengths were given for 1 targets",
        ),
        (lambda: measured(speaker, [good], n_random=0), "at least one of each"),
        (lambda: likelihood_lift(speaker, [good], SENTENCES, ()), "no neutral sentences"),
        (lambda: measured(speaker, [target(torch.zeros(32))]), "has no length"),
        (lambda: measured(speaker, [target(torch.ones(8))], n_random=1), "8 wide"),
    ]:
        with pytest.raises(InputError) as caught:
            call()
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)
