"""Side effects are zero for no steering and otherwise what a hand computation gives."""

import math

import pytest
import torch
from hand_made import logprobs

from interp.core import InputError
from interp.steering.side_effects import side_effects

SITE = "L1.resid_post"
TEXTS = ("a ship of the sea", "the ship", "of a ship")


def test_a_vector_of_zeros_has_none(speaker):
    (found,) = side_effects(speaker, SITE, torch.zeros(1, 32), TEXTS)
    assert (found.kl.value, found.kl.low, found.kl.high) == (0.0, 0.0, 0.0)
    assert (
        found.perplexity_ratio.value,
        found.perplexity_ratio.low,
        found.perplexity_ratio.high,
    ) == (1.0, 1.0, 1.0)


def test_a_hand_computation(speaker, sea):
    vector = 1.2 * sea
    divergences, changes = [], []
    for text in TEXTS:
        words = text.split()
        ids = speaker.tokenizer.convert_tokens_to_ids(words)
        pairs = [
            (logprobs(speaker, word, torch.zeros(32)), logprobs(speaker, word, vector))
            for word in words[:-1]
        ]
        divergences.append(
            sum(float((plain.exp() * (plain - steered)).sum()) for plain, steered in pairs)
            / len(pairs)
        )
        changes.append(
            sum(
                float(steered[token] - plain[token])
                for (plain, steered), token in zip(pairs, ids[1:], strict=True)
            )
            / len(pairs)
        )
    (found,) = side_effects(speaker, SITE, vector[None], TEXTS)
    assert found.kl.value == pytest.approx(sum(divergences) / 3, rel=1e-4)
    assert found.perplexity_ratio.value == pytest.approx(math.exp(-sum(changes) / 3), rel=1e-4)
    assert found.kl.low <= found.kl.value <= found.kl.high
    assert found.kl.n == 3


def test_a_stronger_vector_has_more(llama):
    vectors = torch.randn(1, 16, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [[0.1], [1.0], [3.0]]
    )
    found = side_effects(
        llama,
        SITE,
        vectors,
        ("The sea was calm and the ships lay still.", "Bread rises when the yeast is warm."),
    )
    assert found[0].kl.value < found[1].kl.value < found[2].kl.value


def test_no_texts_are_refused(llama):
    with pytest.raises(InputError, match="got none"):
        side_effects(llama, SITE, torch.ones(1, 16), ())
