"""The output side of a feature: the tokens that its direction alone promotes and suppresses."""

from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.features.feature import TokenEffect

CHUNK = 64
"""Directions read at once: 64 of them take 66 MB with a vocabulary of 256,000."""


@runtime_checkable
class Vocabulary(Protocol):
    """A language model that can read a direction in its vocabulary."""

    tokenizer: Any

    def residual_effect(self, site: str, directions: Tensor) -> Tensor: ...

    def vocabulary_effect(self, residual: Tensor) -> Tensor: ...


def token_effects(
    model: Vocabulary, site: str, directions: Float[Tensor, "feature d"], count: int = 15
) -> list[tuple[tuple[TokenEffect, ...], tuple[TokenEffect, ...]]]:
    """For every direction the (at most) `count` tokens it promotes and those it suppresses most.

    Definition: the logits `unembed(ln_final(W_out · direction))` (Geva et al. 2022; Shafran et al.
    2025) minus their mean over the vocabulary, which no softmax sees.

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
    promoted = map(partial(_effects, model), best.indices, best.values)
    suppressed = map(partial(_effects, model), worst.indices, -worst.values)
    return list(zip(promoted, suppressed, strict=True))


def _effects(
    model: Vocabulary, ids: Int[Tensor, " token"], logits: Float[Tensor, " token"]
) -> tuple[TokenEffect, ...]:
    return tuple(
        TokenEffect(_name(model, token), logit)
        for token, logit in zip(ids.tolist(), logits.tolist(), strict=True)
    )


def _name(model: Vocabulary, token: int) -> str:
    return str(token) if model.tokenizer is None else str(model.tokenizer.decode([token]))
