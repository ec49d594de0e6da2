"""The output side of a feature: the tokens its direction promotes and suppresses when read on its own."""

from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from interp.features.feature import TokenEffect


class Vocabulary(Protocol):
    """What is needed of a language model to read a direction in its vocabulary."""

    tokenizer: Any

    def residual_effect(self, site: str, directions: Tensor) -> Tensor: ...

    def vocabulary_effect(self, residual: Tensor) -> Tensor: ...


def token_effects(
    model: Vocabulary, site: str, directions: Float[Tensor, "feature d"], count: int = 15
) -> list[tuple[tuple[TokenEffect, ...], tuple[TokenEffect, ...]]]:
    """For every direction its most promoted and most suppressed tokens.

    Definition: the logits `unembed(ln_final(W_out · direction))` (Geva et al. 2022; Shafran et al. 2025), minus their mean over the vocabulary,
    which no softmax sees.

    Cost: one unembedding per direction.
    """
    logits = model.vocabulary_effect(model.residual_effect(site, directions))
    logits = logits - logits.mean(dim=1, keepdim=True)
    best, worst = torch.topk(logits, count, dim=1), torch.topk(-logits, count, dim=1)
    return [
        (_effects(model, best.indices[row], best.values[row]), _effects(model, worst.indices[row], -worst.values[row]))
        for row in range(len(directions))
    ]


def _effects(model: Vocabulary, ids: Tensor, logits: Tensor) -> tuple[TokenEffect, ...]:
    return tuple(TokenEffect(model.tokenizer.decode([token]), logit) for token, logit in zip(ids.tolist(), logits.tolist(), strict=True))
