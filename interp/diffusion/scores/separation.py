"""Separation of factors: does a direction move one factor, and is every factor moved by one?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.core import InputError, Score


@dataclass(frozen=True)
class Separation:
    """How well directions separate factors.

    A direction's `purity` is its largest absolute effect over the sum of all (1: it moves one
    factor; 1/factors: all alike). `coverage` is the share of factors that are some direction's
    largest effect. `separation` joins both: factors are paired one to one with directions for the
    largest shares of effect, averaged over factors.
    """

    purity: Mapping[str, float]
    coverage: float
    separation: float
    pairs: Mapping[str, str]


def separation(table: Mapping[str, Mapping[str, Score]]) -> Separation:
    """Purity, coverage and separation of a table of effects (`effect_matrix`).

    Raises:
        InputError: an empty table.

    Example:
        >>> separation(effect_matrix(trial, ica, strengths)).separation
    """
    if not table:
        raise InputError("the table of effects is empty; give at least one direction")
    names, factors = list(table), list(next(iter(table.values())))
    effects = np.array([[table[name][factor].value for factor in factors] for name in names])
    shares, rows, columns = _paired(effects)
    return Separation(
        dict(zip(names, shares.max(axis=1).tolist(), strict=True)),
        len(set(np.abs(effects).argmax(axis=1).tolist())) / len(factors),
        float(shares[rows, columns].sum() / len(factors)),
        {factors[column]: names[row] for row, column in zip(rows, columns, strict=True)},
    )


def separation_at(
    effects: Mapping[str, Float[np.ndarray, "image factor"]], *, seed: int, resamples: int = 500
) -> Score:
    """`separation` of per-image effects with a bootstrap interval over images; its control is
    random tables of the same size.

    Directions may lack different images: each is resampled separately, and n is the smallest.

    Raises:
        InputError: no directions, or directions with other factors.
    """
    factors = {values.shape[1] for values in effects.values()}
    if len(factors) != 1:
        raise InputError(
            f"effects on {sorted(factors)} factors; measure every direction on the same factors"
        )
    generator = np.random.default_rng(seed)
    measured = list(effects.values())

    def drawn(values: np.ndarray) -> np.ndarray:
        return np.asarray(values[generator.integers(0, len(values), len(values))].mean(axis=0))

    draws = [_best(np.stack([drawn(values) for values in measured])) for _ in range(resamples)]
    size = (len(measured), *factors)
    chance = [_best(generator.standard_normal(size)) for _ in range(resamples)]
    return Score.of_draws(
        _best(np.stack([values.mean(axis=0) for values in measured])),
        draws,
        n=min(len(values) for values in measured),
        seed=seed,
        control=float(np.mean(chance)),
    )


def _best(effects: Float[np.ndarray, "direction factor"]) -> float:
    shares, rows, columns = _paired(effects)
    return float(shares[rows, columns].sum() / effects.shape[1])


def _paired(
    effects: Float[np.ndarray, "direction factor"],
) -> tuple[Float[np.ndarray, "direction factor"], np.ndarray, np.ndarray]:
    """Every factor's share of a direction's effects, and the pairs whose shares are largest."""
    from scipy.optimize import linear_sum_assignment

    sizes = np.abs(effects)
    shares = sizes / np.maximum(sizes.sum(axis=1, keepdims=True), 1e-12)
    rows, columns = linear_sum_assignment(-shares)
    return shares, rows, columns
