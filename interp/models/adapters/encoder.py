"""Sentence embeddings: an independent judge of meaning."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.adapters.tokens import batches, tokenize
from interp.models.protocol import Batch

TOKEN_BUDGET = 2048


class SentenceEncoder:
    """Texts to unit vectors: the mean of an encoder's last hidden states over tokens (Reimers &
    Gurevych 2019).

    Example:
        >>> encoder = interp.models.load_encoder("all-minilm-l6-v2")
        >>> similarity = encoder.encode(["a cat"]) @ encoder.encode(["a kitten"]).T
    """

    def __init__(self, module: Any, tokenizer: Any, *, name: str, weight_hash: str) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.name = name
        self.weight_hash = weight_hash

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "text d"]:
        """Unit vectors in the order of the texts, each cut to 256 tokens as in training."""
        tokenized = tokenize(list(texts), self.tokenizer)
        cut = [type(t)(t.text, t.ids[:256], t.tokens[:256], t.special[:256]) for t in tokenized]
        prepared = batches(
            cut,
            pad_id=self.tokenizer.pad_token_id,
            segment=256,
            batch_size=None,
            token_budget=TOKEN_BUDGET,
            device=self.module.device,
        )
        result = torch.zeros(len(cut), self.module.config.hidden_size)
        for batch in prepared.batches:
            result[torch.from_numpy(batch.items)] = self._embed(batch)
        return torch.nn.functional.normalize(result, dim=1)

    def _embed(self, batch: Batch) -> Tensor:
        hidden = self.module(**batch.inputs).last_hidden_state
        mask = batch.inputs["attention_mask"][..., None].to(hidden)
        mean: Tensor = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return mean.float().cpu()
