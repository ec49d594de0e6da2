"""A small dictionary, and activations whose tokens are words."""

import numpy as np
import pytest
import torch

from interp.core import Activations, Contexts, Provenance
from interp.decompose.random_directions import RandomDirections


@pytest.fixture
def axes():
    """A dictionary whose directions are the first axes: a row's coefficients are its own first
    values.
    """

    def make(count, width, site="L0.mlp"):
        return RandomDirections(
            torch.eye(count, width), torch.zeros(width), Provenance("axes", site=site)
        )

    return make


@pytest.fixture
def recorded():
    """Activations of texts, one row per word but the first of each text, as `record` leaves
    them.
    """

    def make(texts, values, site="L0.mlp", skip_first=1):
        tokens = tuple(
            tuple(word if number == 0 else f" {word}" for number, word in enumerate(text.split()))
            for text in texts
        )
        rows = [
            (item, position)
            for item, own in enumerate(tokens)
            for position in range(skip_first, len(own))
        ]
        item, position = (np.array(column) for column in zip(*rows, strict=True))
        contexts = Contexts(
            item=item,
            position=position,
            step=np.zeros(len(rows), int),
            items=tuple(texts),
            tokens=tokens,
        )
        return Activations(
            torch.as_tensor(values, dtype=torch.float32),
            contexts,
            site,
            Provenance("record", site=site),
        )

    return make
