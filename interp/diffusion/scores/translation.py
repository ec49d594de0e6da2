"""Scores of translations: did one factor become the target's, and did the others stay?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Score, bootstrap_mean, bootstrap_statistic
from interp.core.names import require_known
from interp.diffusion.images.factors import Reader, factor_table, require_readable


@dataclass(frozen=True)
class Translation:
    """`success` is the share of images whose factor is in the target's range after translation;
    its control is the share before.

    `kept` has, per other factor, `R² = 1 − Σ(out − in)² / Σ(in − mean in)²`: 1 where every image
    keeps its own. Its control permutes the translations among the images (about −1 where these
    vary as much). `dropped` images were unreadable before or after.
    """

    factor: str
    success: Score
    kept: Mapping[str, Score]
    dropped: int

    def __str__(self) -> str:
        kept = ", ".join(f"{name} R² {score}" for name, score in self.kept.items())
        return f"{self.factor} translated in {self.success}; kept: {kept}; {self.dropped} dropped"


def translation_score(
    images: Float[Tensor, "image channel y x"],
    translated: Float[Tensor, "translation channel y x"],
    read: Reader,
    factor: str,
    low: float,
    high: float,
    *,
    seed: int = 0,
) -> Translation:
    """Score translations by a reader's factors before and after.

    Args:
        low, high: the target's range of the factor.

    Raises:
        InputError: images and translations differ in number, an unknown factor, an empty range, or
            fewer than 8 readable pairs.

    Example:
        >>> reds = translate(model, blues, labels=blue, to=red)
        >>> translation_score(blues, reds, read_shapes, "colour", 0.75, 1.0)
    """
    if images.shape != translated.shape or not low < high:
        raise InputError(
            f"{tuple(images.shape)} images, {tuple(translated.shape)} translations, range {low} to "
            f"{high}; give pairs and a range"
        )
    before, after = factor_table(read, images), factor_table(read, translated)
    require_known("factor", factor, tuple(before))
    readable = ~torch.stack([*before.values(), *after.values()]).isnan().any(dim=0)
    require_readable(readable, "pairs", "look at the translations")
    first = {name: value[readable].numpy() for name, value in before.items()}
    then = {name: value[readable].numpy() for name, value in after.items()}
    was = (first[factor] >= low) & (first[factor] <= high)
    inside = (then[factor] >= low) & (then[factor] <= high)
    others = [name for name in first if name != factor and float(first[name].std()) > 1e-6]
    return Translation(
        factor,
        bootstrap_mean(inside.astype(float), seed=seed, control=float(was.mean())),
        {name: _kept(first[name], then[name], seed) for name in others},
        int((~readable).sum()),
    )


def _kept(before: np.ndarray, after: np.ndarray, seed: int) -> Score:
    # Row numbers are resampled, so that before and after stay paired.
    permuted = after[np.random.default_rng(seed).permutation(len(after))]

    def share(places: np.ndarray) -> np.ndarray:
        rows = places.astype(int)
        x, y = before[rows], after[rows]
        whole = ((x - x.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
        return np.asarray(1 - ((y - x) ** 2).sum(axis=-1) / np.maximum(whole, 1e-12))

    control = float(1 - ((permuted - before) ** 2).sum() / ((before - before.mean()) ** 2).sum())
    return bootstrap_statistic(
        np.arange(len(before), dtype=float), share, seed=seed, control=control
    )
