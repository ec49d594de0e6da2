"""Models whose answers are known, shared by the tests of steering."""

import pytest
import tiny
import torch
from hand_made import planted

from interp.models.loading import wrap

WORDS = ("sea", "the", "ship", "a", "of", *(f"word{number}" for number in range(25)))
WIDTH = 32


@pytest.fixture(scope="session")
def llama():
    """A tiny Llama with random weights and a byte-level tokenizer."""
    return wrap(tiny.language("llama"), tiny.tokenizer())


@pytest.fixture(scope="session")
def speaker():
    """A model of 30 words; word k's unembedding is axis k, so adding axis 0 makes it say "sea"."""
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(len(WORDS), WIDTH, generator=generator)
    embedding[:, 0] = -1.0
    return planted(WORDS, embedding, 2.0 * torch.eye(len(WORDS), WIDTH))


@pytest.fixture(scope="session")
def sea():
    """The direction of "sea" in the residual stream of `speaker`."""
    return torch.eye(WIDTH)[0]
