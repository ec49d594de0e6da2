"""Paired differences between families of directions on the same concepts and texts."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from interp.core import InputError, Score
from interp.core.score import DRAWS_AT_ONCE

RESAMPLES = 2000


def paired_difference(
    values_a: Float[np.ndarray, "concept text"],
    values_b: Float[np.ndarray, "concept_b text_b"],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Score:
    """How much higher `values_a` are than `values_b`: the mean over concepts of the mean paired
    difference over texts.

    Both have the same concepts and texts (prompts, samples) in the same order, at the same
    strength. Pairs with a NaN (a failed judgement) and concepts without pairs are left out. The
    95 % interval is a two-stage bootstrap (Davison & Hinkley 1997, §3.8) over concepts, then over
    texts within each drawn concept, because texts of a concept are correlated.

    Returns:
        a Score with `n` the number of concepts and control 0, the difference of a family and
        itself.

    Raises:
        InputError: the arrays differ in shape, or no pair is left.

    Example:
        >>> paired_difference(np.array([[1.0, 2.0], [0.0, 1.0]]), np.zeros((2, 2)), seed=0).value
        1.0
    """
    values_a, values_b = np.asarray(values_a, dtype=float), np.asarray(values_b, dtype=float)
    if values_a.shape != values_b.shape or values_a.ndim != 2:
        raise InputError(
            f"paired values are {values_a.shape} and {values_b.shape}; give two arrays [concept, "
            "text] of the same concepts and texts"
        )
    difference = values_a - values_b
    rows = [row[~np.isnan(row)] for row in difference]
    rows = [row for row in rows if len(row)]
    if not rows:
        raise InputError(
            "no pair of values is left to compare (each has a NaN); give families that were judged "
            "on the same texts"
        )
    drawn = np.concatenate(list(_resampled(rows, resamples, seed)))
    value = float(np.mean([row.mean() for row in rows]))
    return Score.of_draws(
        value, drawn, n=len(rows), seed=seed, control=0.0, interval="two-stage bootstrap 95%"
    )


def _resampled(
    rows: list[np.ndarray], resamples: int, seed: int
) -> Iterator[Float[np.ndarray, " resample"]]:
    """Means over resampled concepts and texts, in batches of resamples."""
    generator = np.random.default_rng(seed)
    lengths = np.array([len(row) for row in rows])
    padded = np.zeros((len(rows), lengths.max()))
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    size = max(1, DRAWS_AT_ONCE // padded.size)
    for start in range(0, resamples, size):
        concepts = generator.integers(len(rows), size=(min(size, resamples - start), len(rows), 1))
        texts = generator.integers(lengths[concepts], size=(*concepts.shape[:2], padded.shape[1]))
        # A concept with fewer texts also has fewer drawn.
        counted = np.arange(padded.shape[1]) < lengths[concepts]
        totals = np.where(counted, padded[concepts, texts], 0.0).sum(axis=2)
        yield (totals / lengths[concepts[..., 0]]).mean(axis=1)
