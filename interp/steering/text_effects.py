"""Effects of vectors at a site on given texts: the change of their log-probability and of the
predictions on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from interp.capture import Add
from interp.core import InputError, Progress, silent
from interp.models.adapters.transformer import TransformerModel
from interp.models.protocol import Batch
from interp.models.suffix import Suffix

TOKENS_PER_CALL = 1024
TOKENS_PER_BATCH = 256
"""Texts of similar length share a batch, and several vectors a call: small batches pad little."""


@dataclass(frozen=True)
class TextEffects:
    """By vector and text, in nats: the `change` of the mean log-probability per token, and
    `kl(unsteered ‖ steered)`, mean over tokens (None if not measured).

    A text's first token has no probability and does not count.
    """

    change: Float[np.ndarray, "vector text"]
    kl: Float[np.ndarray, "vector text"] | None


def text_effects(
    model: TransformerModel,
    texts: Sequence[str],
    site: str,
    vectors: Float[Tensor, "vector d"],
    *,
    n_tokens: int,
    divergence: bool = False,
    progress: Progress = silent,
) -> TextEffects:
    """The effects of adding each vector at all positions of a site on texts cut to `n_tokens`.

    Raises:
        InputError: the vectors are not as wide as the site, or a text has no second token.

    Cost: a forward pass over the texts, and one per vector from the site on.
    """
    if vectors.shape[1] != (width := model.sites.width(site)):
        raise InputError(
            f"directions for {site} are {vectors.shape[1]} wide but the site {width}; use "
            "directions of that site"
        )
    change = np.zeros((len(vectors), len(texts)))
    kl = np.zeros_like(change) if divergence else None
    batches = model.prepare(_cut(model, texts, n_tokens), token_budget=TOKENS_PER_BATCH).batches
    for number, batch in enumerate(batches):
        rest = _Rest(model, batch, site)
        size = max(1, TOKENS_PER_CALL // batch.inputs["input_ids"].numel())
        for start in range(0, len(vectors), size):
            cells = slice(start, start + size)
            steered = rest.steered(vectors[cells])
            change[cells, batch.items] = rest.change(steered)
            if kl is not None:
                kl[cells, batch.items] = rest.divergence(steered)
        progress(f"likelihoods at {site}", number + 1, len(batches), "batch")
    return TextEffects(change, kl)


def _cut(model: TransformerModel, texts: Sequence[str], n_tokens: int) -> list[list[int]]:
    if n_tokens < 2:
        raise InputError(
            f"n_tokens is {n_tokens}; a first token has no probability, so at least 2 are needed"
        )
    found: dict[int, list[int]] = {}
    for batch in model.prepare(list(texts)).batches:
        assert batch.keep is not None
        for item, offset, ids, keep in zip(
            batch.items, batch.offsets, batch.inputs["input_ids"], batch.keep, strict=True
        ):
            if offset == 0:
                found[int(item)] = ids[keep][:n_tokens].tolist()
    for item, text in enumerate(texts):
        if len(found.get(item, ())) < 2:
            raise InputError(f"text {item} has fewer than two tokens: {text[:60]!r}; leave it out")
    return [found[item] for item in range(len(texts))]


class _Rest:
    """A batch of texts with unsteered predictions; values are means over tokens but the first."""

    def __init__(self, model: TransformerModel, batch: Batch, site: str) -> None:
        self._suffix = Suffix(model, batch, site)
        self._next = batch.inputs["input_ids"][:, 1:, None]
        self._counted = batch.inputs["attention_mask"][:, 1:].float()
        self._plain = torch.log_softmax(self._suffix.plain[:, :-1].float(), dim=-1)

    def steered(self, vectors: Tensor) -> Float[Tensor, "vector row position vocabulary"]:
        """Log-probabilities under steering."""
        logits = self._suffix.logits(Add(vectors), times=len(vectors))[:, :-1]
        axes = "(vector row) position token -> vector row position token"
        return torch.log_softmax(rearrange(logits, axes, vector=len(vectors)).float(), dim=-1)

    def change(self, steered: Tensor) -> Float[np.ndarray, "vector row"]:
        own = self._plain.gather(2, self._next)[..., 0]
        following = repeat(
            self._next, "row position 1 -> vector row position 1", vector=len(steered)
        )
        return self._mean(steered.gather(3, following)[..., 0] - own)

    def divergence(self, steered: Tensor) -> Float[np.ndarray, "vector row"]:
        return self._mean((self._plain.exp() * (self._plain - steered)).sum(dim=-1).clamp(min=0))

    def _mean(self, value: Tensor) -> Float[np.ndarray, "vector row"]:
        total = torch.where(self._counted > 0, value, 0.0).sum(dim=-1) / self._counted.sum(dim=-1)
        return np.asarray(total.double().cpu())
