"""Matching the directions of two dictionaries."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import InputError


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs of directions: their indices `first` and `second [pair]` and cosine similarities
    `cosines [pair]`.
    """

    first: Int[np.ndarray, " pair"]
    second: Int[np.ndarray, " pair"]
    cosines: Float[np.ndarray, " pair"]

    @property
    def mean_cosine(self) -> float:
        """The mean over the pairs."""
        return float(self.cosines.mean())


def match_directions(
    first: Float[Tensor, "feature d"],
    second: Float[Tensor, "other_feature other_d"],
    *,
    signed: bool = True,
) -> Matching:
    """The one-to-one pairing with the largest sum of cosines (`signed=False`: of their
    magnitudes); spare directions stay unpaired.

    Raises:
        InputError: the widths differ, or a direction is zero.

    Source: Kuhn 1955, scipy's implementation. Cost: `feature·other_feature·d`, and cubic in the
    number of features.

    Example:
        >>> match_directions(snmf.directions, planted).mean_cosine
    """
    from scipy.optimize import linear_sum_assignment

    if first.shape[1] != second.shape[1]:
        raise InputError(
            f"directions are {first.shape[1]} and {second.shape[1]} wide; compare dictionaries of "
            "the same site"
        )
    sides = [side.detach().float().cpu() for side in (first, second)]
    norms = [side.norm(dim=1, keepdim=True) for side in sides]
    if any(bool((norm == 0).any()) for norm in norms):
        raise InputError("a direction is all zero and has no cosine; leave it out")
    unit = [side / norm for side, norm in zip(sides, norms, strict=True)]
    cosines = (unit[0] @ unit[1].T).numpy().astype(np.float64)
    rows, columns = linear_sum_assignment(cosines if signed else np.abs(cosines), maximize=True)
    return Matching(np.asarray(rows), np.asarray(columns), cosines[rows, columns])
