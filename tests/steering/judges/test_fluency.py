"""Fluency: surprise by a closed form, and a score that falls with surprise and with repetition."""

import numpy as np
import pytest
import torch
from hand_made import planted

from interp.core import InputError
from interp.steering.judges.fluency import Fluency, fit_fluency, repetition_rate, surprises

COUNT = 40
SHARP = 0.8


@pytest.fixture(scope="module")
def cycle():
    """A model that expects every word to be followed by the next of 40, with logit 0.8 · √40
    against 0 for all others.
    """
    words = tuple(f"w{number}" for number in range(COUNT))
    unembedding = SHARP * torch.roll(torch.eye(COUNT), 1, dims=0)
    return planted(words, torch.eye(COUNT), unembedding)


def walk(start, steps):
    """Words from `start`, each step that many further."""
    return " ".join(f"w{(start + step) % COUNT}" for step in np.cumsum([0, *steps]))


@pytest.fixture(scope="module")
def real():
    """Texts of the cycle with a jump at every fifth word on average."""
    generator = np.random.default_rng(0)
    return [
        walk(number, np.where(generator.random(19) < 0.8, 1, generator.integers(2, COUNT, 19)))
        for number in range(60)
    ]


def test_surprise_is_minus_log_probability_per_token(cycle):
    total = np.log(np.exp(SHARP * np.sqrt(COUNT)) + COUNT - 1 + 3)
    expected, other = total - SHARP * np.sqrt(COUNT), total
    found = surprises(cycle, ["w0 w1", "w0 w1", "w7", "w7"], [" w2 w3", " w9 w10", " w8", ""])
    assert found[:3] == pytest.approx([expected, (expected + other) / 2, expected], rel=1e-4)
    assert np.isnan(found[3])


def test_surprise_of_a_text_longer_than_a_batch_holds_and_of_an_empty_prompt(cycle):
    text = walk(0, [1] * 700)
    whole, short = surprises(cycle, ["w39", ""], [f" {text}", walk(0, [1] * 9)])
    (expected,) = surprises(cycle, ["w0"], [" w1"])
    # Every 128th token begins a piece of its own and has no probability.
    assert whole == pytest.approx(expected, rel=1e-4)
    assert short == pytest.approx(expected, rel=1e-4)


def test_only_the_prompt_is_left_out_of_a_text_in_several_pieces(cycle):
    prompt, steps = walk(0, [1] * 5), [1] * 199
    steps[124 - 1] = 7
    text = walk(6, steps)
    expected, other = (float(surprises(cycle, ["w0"], [word])[0]) for word in (" w1", " w9"))
    # 206 tokens in pieces of 128; the jump is the third token of the second piece, whose first has
    # no probability.
    assert surprises(cycle, [prompt], [f" {text}"]) == pytest.approx(
        (198 * expected + other) / 199, rel=1e-4
    )


def test_real_text_scores_high_and_nonsense_low(cycle, real):
    fluency = fit_fluency(cycle, real)
    generator = np.random.default_rng(1)
    natural = [walk(number, [1] * 12) for number in range(8)]
    nonsense = [walk(number, generator.integers(2, COUNT, 12)) for number in range(8)]
    repeated = ["w5 w6 w5 w6 w5 w6 w5 w6 w5 w6 w5 w6"] * 8

    def score(texts):
        return fluency.score(
            surprises(cycle, ["w0"] * 8, [f" {text}" for text in texts]),
            np.array([repetition_rate(text) for text in texts]),
        )

    assert score(natural).min() == 2.0
    assert score(nonsense).max() == 0.0
    assert score(repeated).max() < 0.5


def test_half_of_real_text_scores_full_marks_and_none_is_beyond_all(cycle, real):
    fluency = fit_fluency(cycle, real)
    scores = fluency.score(fluency.surprise, np.zeros(len(real)))
    assert (scores == 2.0).mean() == pytest.approx(0.5, abs=0.1)
    assert scores.min() > 0


def test_the_score_falls_with_surprise_and_with_repetition():
    fluency = Fluency(np.linspace(1.0, 3.0, 101), 0.2)
    by_surprise = fluency.score(np.linspace(0.5, 3.5, 31), np.zeros(31))
    by_repetition = fluency.score(np.full(31, 1.0), np.linspace(0, 1, 31))
    for scores in (by_surprise, by_repetition):
        assert (np.diff(scores) <= 0).all()
        assert (scores[0], scores[-1]) == (2.0, 0.0)
    assert fluency.score(np.array([2.5]), np.zeros(1)) == pytest.approx(1.0, abs=0.03)
    assert fluency.score(np.array([1.0]), np.array([0.6])) == pytest.approx(1.0)
    assert fluency.score(np.array([1.0]), np.array([0.2])) == 2.0, (
        "as much repetition as real text has costs nothing"
    )


def test_an_empty_continuation_scores_zero():
    assert Fluency(np.linspace(1.0, 3.0, 101), 0.2).score(np.array([np.nan]), np.zeros(1)) == 0.0


def test_repetition_counts_pairs_of_words_and_marks():
    assert repetition_rate("the sea is calm") == 0.0
    assert repetition_rate("the sea the sea the sea") == pytest.approx(3 / 5)
    assert repetition_rate("The sea, the SEA") == 0.0 + 1 / 4
    assert repetition_rate("!!!!!!!!!!!") == pytest.approx(9 / 10)
    assert repetition_rate("") == repetition_rate("sea") == 0.0


def test_too_few_real_texts_are_refused(cycle, real):
    with pytest.raises(InputError, match="10 texts have 9 words or more; at least 20"):
        fit_fluency(cycle, [*real[:10], *["w1 w2 w3"] * 30])
