"""Sampling continuations of many rows at once, each row with a seed of its own, so that a text does
not depend on what shares its batch.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import InputError
from interp.models.protocol import Batch


@dataclass(frozen=True)
class Sampling:
    """How continuations are drawn: `top_k` most likely tokens, of those the smallest set holding
    `top_p` of the mass, at `temperature`.

    The defaults are those of Shafran et al. (2025). `top_k=1` is greedy decoding.
    """

    max_new_tokens: int = 50
    top_k: int = 30
    top_p: float = 0.3
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if (
            self.max_new_tokens < 1
            or self.top_k < 1
            or not 0 < self.top_p <= 1
            or self.temperature <= 0
        ):
            raise InputError(
                f"{self} cannot be sampled; max_new_tokens and top_k ≥ 1, 0 < top_p ≤ 1, "
                "temperature > 0 are needed"
            )


@torch.no_grad()
def sample_ids(
    module: Any, batch: Batch, sampling: Sampling, seeds: Sequence[int], stop_ids: Sequence[int]
) -> Int[Tensor, "batch step"]:
    """New token ids of every row of a left-padded batch; after a row's stop token its ids are -1.

    Each step is one cached forward call; the hooks that are in place apply to prefill and decoding
    alike.
    """
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    uniform = torch.stack(
        [
            torch.rand(sampling.max_new_tokens, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
    ).to(ids.device)
    stops = torch.tensor(list(stop_ids), device=ids.device, dtype=torch.long)
    done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    name, cache, drawn, current = cache_name(module), None, [], ids
    for step in range(sampling.max_new_tokens):
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -current.shape[1] :]
        output = module(
            input_ids=current,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{name: cache},
        )
        cache = output[name]
        token = _draw(output.logits[:, -1].float(), uniform[:, step], sampling)
        token = torch.where(done, -1, token)
        done = done | torch.isin(token, stops)
        drawn.append(torch.where(torch.isin(token, stops), -1, token))
        if bool(done.all()):
            break
        current = token.clamp(min=0)[:, None]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return torch.stack(drawn, dim=1)


def cache_name(module: Any) -> str:
    """What the forward of a language model calls its key-value cache (transformers renamed it in
    version 5).
    """
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


def _draw(
    logits: Float[Tensor, "batch vocabulary"], uniform: Float[Tensor, " batch"], sampling: Sampling
) -> Int[Tensor, " batch"]:
    """One token per row by inverting the cumulative distribution at the row's own uniform
    number.
    """
    values, tokens = torch.topk(
        logits / sampling.temperature, min(sampling.top_k, logits.shape[1]), dim=1
    )
    probability = torch.softmax(values, dim=1)
    before = probability.cumsum(dim=1) - probability
    kept = torch.where(before < sampling.top_p, probability, 0.0)
    cumulative = kept.cumsum(dim=1)
    choice = (
        (cumulative <= uniform[:, None] * cumulative[:, -1:])
        .sum(dim=1)
        .clamp(max=tokens.shape[1] - 1)
    )
    return tokens.gather(1, choice[:, None])[:, 0]
