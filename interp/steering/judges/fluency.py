"""Fluency without a language-model judge: surprise to the unsteered model, and repetition."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from interp.core import InputError
from interp.models.adapters.transformer import TransformerModel
from interp.models.protocol import Batch
from interp.steering.judges.judge import SCALE

WORD = re.compile(r"\w+|[^\w\s]")
REAL_WORDS = 24
PROMPT_WORDS = 4


@dataclass(frozen=True)
class Fluency:
    """Maps a continuation to 0–2 by quantiles of real text.

    `surprise [text]` are the sorted mean negative log-probabilities per token of real continuations
    under the same model; `repetition` is the 99th percentile of their share of repeated word pairs.
    A continuation no more surprising than the median real one scores 2, falling linearly with its
    quantile to 0 beyond the most surprising one, times the share of its word pairs that are not
    excess repetition.
    """

    surprise: Float[np.ndarray, " text"]
    repetition: float

    def score(
        self, surprise: Float[np.ndarray, " text"], repetition: Float[np.ndarray, " text"]
    ) -> Float[np.ndarray, " text"]:
        """Scores of continuations from their surprise and repetition; an empty continuation (NaN
        surprise) scores 0.
        """
        below = np.searchsorted(
            self.surprise, np.nan_to_num(surprise, nan=np.inf), side="left"
        ) / len(self.surprise)
        natural = np.clip(2 * (1 - below), 0, 1)
        excess = np.clip((repetition - self.repetition) / max(1 - self.repetition, 1e-9), 0, 1)
        return np.asarray(SCALE * natural * (1 - excess))


def fit_fluency(model: TransformerModel, texts: Sequence[str]) -> Fluency:
    """Learn how real text looks to a model: each text's first four words are a prompt, the next
    ones its continuation.

    Raises:
        InputError: fewer than 20 texts are long enough for quantiles.

    Cost: one forward pass over the texts.
    """
    words = [text.split() for text in texts]
    usable = [own for own in words if len(own) >= PROMPT_WORDS + 5]
    if len(usable) < 20:
        raise InputError(
            f"{len(usable)} texts have 9 words or more; at least 20 are needed for quantiles of "
            "real text"
        )
    prompts = [" ".join(own[:PROMPT_WORDS]) for own in usable]
    continuations = [" " + " ".join(own[PROMPT_WORDS:REAL_WORDS]) for own in usable]
    real = np.sort(surprises(model, prompts, continuations))
    return Fluency(
        real, float(np.quantile([repetition_rate(text) for text in continuations], 0.99))
    )


def surprises(
    model: TransformerModel, prompts: Sequence[str], texts: Sequence[str]
) -> Float[np.ndarray, " text"]:
    """Mean negative log-probability (nats) per token of continuations given their prompts; NaN
    where there is no token.

    Cost: one forward pass over prompts and continuations.
    """
    distinct = list(dict.fromkeys(prompts))
    lengths = {
        prompt: len(tokens)
        for prompt, tokens in zip(distinct, model.prepare(distinct).tokens, strict=True)
    }
    start = np.array([lengths[prompt] for prompt in prompts])
    total, count = np.zeros(len(texts)), np.zeros(len(texts))
    whole = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
    for batch in model.prepare(whole).batches:
        surprise, tokens = _batch_surprise(model, batch, start[batch.items] - batch.offsets)
        # A text longer than the network's context comes in several pieces.
        np.add.at(total, batch.items, surprise)
        np.add.at(count, batch.items, tokens)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def repetition_rate(text: str) -> float:
    """The share of adjacent pairs of words or punctuation marks that occurred earlier in a text."""
    pairs = list(pairwise(WORD.findall(text.lower())))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def _batch_surprise(
    model: TransformerModel, batch: Batch, starts: Int[np.ndarray, " batch"]
) -> tuple[Float[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
    """Each element's summed negative log-probability from `starts` on, and the number of tokens; a
    first token has none.
    """
    logprobs = model.token_logprobs(batch, start=max(1, int(starts.min()))).cpu().double().numpy()
    assert batch.keep is not None
    column = np.arange(logprobs.shape[1])
    counted = batch.keep.cpu().numpy() & (column >= np.maximum(starts, 1)[:, None])
    return -(logprobs * counted).sum(axis=1), counted.sum(axis=1).astype(float)
