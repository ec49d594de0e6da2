"""The output side of a feature: the tokens its direction promotes and suppresses when read on its
own.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.features.feature import TokenEffect

CHUNK = 64
"""Directions read at once: 64 × a vocabulary of 256,000 is 66 MB."""


@runtime_checkable
class Vocabulary(Protocol):
    """What is needed of a language model to read a direction in its vocabulary."""

    tokenizer: Any

    def residual_effect(self, site: str, directions: Tensor) -> Tensor: ...

    def vocabulary_effect(self, residual: Tensor) -> Tensor: ...


def token_effects(
    model: Vocabulary, site: str, directions: Float[Tensor, "feature d"], count: int = 15
) -> list[tuple[tuple[TokenEffect, ...], tuple[TokenEffect, ...]]]:
    """For every direction its most promoted and most suppressed tokens, fewer than `count` where
    the vocabulary is smaller.

    Definition: the logits `unembed(ln_final(W_out · direction))` (Geva et al. 2022; Shafran et al.
    2025), minus their mean over the vocabulary, which no softmax sees.

    Raises:
        InputError: the site has no direct effect on the residual stream.

    Cost: one unembedding per direction.
    """
    residual = model.residual_effect(site, directions)
    return [
        effects
        for start in range(0, len(residual), CHUNK)
        for effects in _read(model, residual[start : start + CHUNK], count)
    ]


def _read(
    model: Vocabulary, residual: Float[Tensor, "feature d_model"], count: int
) -> list[tuple[tuple[TokenEffect, ...], tuple[TokenEffect, ...]]]:
    logits = model.vocabulary_effect(residual)
    logits = logits - logits.mean(dim=1, keepdim=True)
    count = min(count, logits.shape[1])
    best, worst = torch.topk(logits, count, dim=1), torch.topk(-logits, count, dim=1)
    return [
        (
            _effects(model, best.indices[row], best.values[row]),
            _effects(model, worst.indices[row], -worst.values[row]),
        )
        for row in range(len(residual))
    ]


def _effects(
    model: Vocabulary, ids: Int[Tensor, " token"], logits: Float[Tensor, " token"]
) -> tuple[TokenEffect, ...]:
    return tuple(
        TokenEffect(_name(model, token), logit)
        for token, logit in zip(ids.tolist(), logits.tolist(), strict=True)
    )


def _name(model: Vocabulary, token: int) -> str:
    return str(token) if model.tokenizer is None else str(model.tokenizer.decode([token]))
