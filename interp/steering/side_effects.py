"""Side effects of steering: how much it changes the predictions on ordinary text, and how much less
likely it makes that text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, Score, bootstrap_mean, bootstrap_statistic, silent
from interp.models.adapters.transformer import TransformerModel
from interp.steering.text_effects import text_effects


@dataclass(frozen=True)
class SideEffects:
    """What adding one vector does to ordinary text.

    `kl` is `KL(unsteered ‖ steered)` in nats per token, mean over texts; `perplexity_ratio` is
    steered over unsteered perplexity, `exp` of the mean fall in log-probability per token.
    Intervals are bootstraps over texts; controls are the values without steering, 0 and 1.
    """

    kl: Score
    perplexity_ratio: Score


def side_effects(
    model: TransformerModel,
    site: str,
    vectors: Float[Tensor, "vector d"],
    texts: Sequence[str],
    *,
    n_tokens: int = 24,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[SideEffects, ...]:
    """The side effects on texts of adding each vector (direction times strength) at all positions
    of a site.

    Raises:
        InputError: there are no texts, one has fewer than two tokens, or the vectors are not as
            wide as the site.

    Cost: one forward pass over the texts, and one per vector from the site on.

    Example:
        >>> (effects,) = side_effects(
        ...     model, "L20.resid_post", alpha * unit[None], concepts.neutral.held_out[:16]
        ... )
        >>> effects.perplexity_ratio
    """
    if not texts:
        raise InputError("side effects need ordinary texts to be measured on, got none")
    found = text_effects(
        model,
        texts,
        site,
        torch.as_tensor(vectors),
        n_tokens=n_tokens,
        divergence=True,
        progress=progress,
    )
    assert found.kl is not None
    return tuple(
        _scores(change, kl, seed) for change, kl in zip(found.change, found.kl, strict=True)
    )


def _scores(
    change: Float[np.ndarray, " text"], kl: Float[np.ndarray, " text"], seed: int
) -> SideEffects:
    ratio = bootstrap_statistic(
        -change, lambda sample: np.exp(sample.mean(axis=-1)), seed=seed, control=1.0
    )
    return SideEffects(bootstrap_mean(kl, seed=seed, control=0.0), ratio)
