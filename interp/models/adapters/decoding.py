"""Samples continuations of a batch, each row by its own seed, so that its text does not depend on
the others.
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
    """How tokens are drawn: from the `top_k` likeliest, of those the smallest set with `top_p` of
    the mass, at `temperature`.

    The defaults are Shafran et al.'s (2025). `top_k=1` is greedy decoding.
    """

    max_new_tokens: int = 50
    top_k: int = 30
    top_p: float = 0.3
    temperature: float = 1.0

    def __post_init__(self) -> None:
        counts = min(self.max_new_tokens, self.top_k)
        if counts < 1 or not 0 < self.top_p <= 1 or self.temperature <= 0:
            raise InputError(
                f"{self} cannot be sampled; max_new_tokens and top_k ≥ 1, 0 < top_p ≤ 1, "
                "temperature > 0 are needed"
            )


@torch.no_grad()
def sample_ids(
    module: Any, batch: Batch, sampling: Sampling, seeds: Sequence[int], stop_ids: Sequence[int]
) -> Int[Tensor, "batch step"]:
    """New token ids of the rows of a left-padded batch, -1 from a row's stop token on.

    Each step is one cached forward call; hooks apply to prefill and decoding alike.
    """
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    drawn = [torch.rand(sampling.max_new_tokens, generator=one) for one in generators]
    uniform = torch.stack(drawn).to(ids.device)
    stops = torch.tensor(list(stop_ids), device=ids.device, dtype=torch.long)
    done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    name, cache, tokens, current = cache_name(module), None, [], ids
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
        tokens.append(torch.where(torch.isin(token, stops), -1, token))
        if bool(done.all()):
            break
        current = token.clamp(min=0)[:, None]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return torch.stack(tokens, dim=1)


def cache_name(module: Any) -> str:
    """The name of the key-value cache in a model's forward (transformers 5 renamed it)."""
    return "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"


def _draw(
    logits: Float[Tensor, "batch vocabulary"], uniform: Float[Tensor, " batch"], sampling: Sampling
) -> Int[Tensor, " batch"]:
    """One token per row: the inverse cumulative distribution at its uniform number."""
    values, tokens = torch.topk(
        logits / sampling.temperature, min(sampling.top_k, logits.shape[1]), dim=1
    )
    probability = torch.softmax(values, dim=1)
    before = probability.cumsum(dim=1) - probability
    kept = torch.where(before < sampling.top_p, probability, 0.0)
    cumulative = kept.cumsum(dim=1)
    below = cumulative <= uniform[:, None] * cumulative[:, -1:]
    choice = below.sum(dim=1).clamp(max=tokens.shape[1] - 1)
    return tokens.gather(1, choice[:, None])[:, 0]
