"""Similarity of two checkpoints' representations: debiased linear CKA, relative representations."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError

FEWEST = 4


def hsic(
    first: Float[Tensor, "row row"],
    second: Float[Tensor, "other_row other_row"],
    *,
    debiased: bool = True,
) -> float:
    """The Hilbert–Schmidt independence criterion of two kernel matrices over the same rows.

    Debiased, with zeroed diagonals K̃ and L̃ of `n` rows:
    `[tr(K̃L̃) + (1ᵀK̃1)(1ᵀL̃1) / ((n−1)(n−2)) − 2/(n−2) · 1ᵀK̃L̃1] / (n(n−3))`, with mean 0 for
    independent rows (it may be negative). Otherwise `tr(KHLH) / (n−1)²`.

    Raises:
        InputError: the shapes differ or there are fewer than 4 rows.

    Source: Song et al. 2012 (eq. 5); Gretton et al. 2005 for the biased one. Cost: `row²`.
    """
    n = len(first)
    if first.shape != second.shape or n < FEWEST:
        raise InputError(
            f"kernels of {tuple(first.shape)} and {tuple(second.shape)}; give two of the same "
            f"rows, at least {FEWEST}"
        )
    first, second = first.double(), second.double()
    if not debiased:
        centred = first - first.mean(dim=0) - first.mean(dim=1, keepdim=True) + first.mean()
        return float((centred * second).sum()) / (n - 1) ** 2
    first = first - torch.diag(first.diagonal())
    second = second - torch.diag(second.diagonal())
    sums = float(first.sum() * second.sum()) / ((n - 1) * (n - 2))
    mixed = float(first.sum(dim=0) @ second.sum(dim=0)) * 2 / (n - 2)
    return (float((first * second).sum()) + sums - mixed) / (n * (n - 3))


def linear_cka(
    first: Float[Tensor, "row d"],
    second: Float[Tensor, "other_row other_d"],
    *,
    debiased: bool = True,
) -> float:
    """Centred kernel alignment with linear kernels: `HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L))` with
    `K = first firstᵀ`.

    1 for representations that differ by rotation and scale. Debiased, it is about 0 for independent
    ones even with fewer rows than dimensions, where the biased one is near 1.

    Args:
        first: `[row, d]`, on the same inputs as the second.
        second: `[row, other_d]`.

    Raises:
        InputError: the numbers of rows differ or are below 4, values are not finite, or a side has
            no variance.

    Source: Kornblith et al. 2019 (eq. 4), with the estimator of Song et al. 2012. Cost: `row²·d`;
    memory `row²`.

    Example:
        >>> linear_cka(early_acts.values, final_acts.values)
    """
    sides = _checked(first, second)
    # Centring only improves the rounding.
    kernels = [(side - side.mean(dim=0)) @ (side - side.mean(dim=0)).T for side in sides]
    own = [hsic(kernel, kernel, debiased=debiased) for kernel in kernels]
    if min(own) <= 0:
        raise InputError(
            f"a representation of {len(first)} rows has no variance that could be told from "
            "chance; give more rows"
        )
    return float(hsic(kernels[0], kernels[1], debiased=debiased) / (own[0] * own[1]) ** 0.5)


def relative_representation(
    values: Float[Tensor, "row d"], anchors: Float[Tensor, "anchor other_d"]
) -> Float[Tensor, "row anchor"]:
    """Every row's cosine with every anchor: invariant to rotating and scaling the space.

    Raises:
        InputError: the widths differ, or a row or anchor is zero.

    Source: Moschella et al. 2023 (eq. 2). Cost: `row·anchor·d`.

    Example:
        >>> relative_representation(acts.values, acts.values[:50])
    """
    if values.shape[1] != anchors.shape[1]:
        raise InputError(
            f"rows are {values.shape[1]} wide and anchors {anchors.shape[1]}; give anchors of "
            "the same site"
        )
    norms = [side.double().norm(dim=1, keepdim=True) for side in (values, anchors)]
    if any(bool((norm == 0).any()) for norm in norms):
        raise InputError("a row or an anchor is all zero and has no cosine; leave it out")
    return ((values.double() / norms[0]) @ (anchors.double() / norms[1]).T).float()


def relative_agreement(
    first: Float[Tensor, "row d"],
    second: Float[Tensor, "other_row other_d"],
    *,
    n_anchors: int = 64,
) -> float:
    """The mean correlation of rows' relative representations in two spaces.

    Both sides are centred; the first `n_anchors` rows are the anchors, and every other row's
    coordinates are correlated (Pearson) between the spaces: 1 for spaces that differ by rotation
    and scale, about 0 for independent ones.

    Raises:
        InputError: the numbers of rows differ, or not `2 <= n_anchors < rows`.

    Source: after Moschella et al. 2023, section 4.1. Cost: `row·n_anchors·d`.
    """
    sides = _checked(first, second)
    if not 2 <= n_anchors < len(first):
        raise InputError(
            f"n_anchors is {n_anchors}; give at least 2 and fewer than the {len(first)} rows"
        )
    coordinates = []
    for side in sides:
        centred = side - side.mean(dim=0)
        relative = relative_representation(centred[n_anchors:], centred[:n_anchors]).double()
        relative = relative - relative.mean(dim=1, keepdim=True)
        coordinates.append(relative / relative.norm(dim=1, keepdim=True))
    return float((coordinates[0] * coordinates[1]).sum(dim=1).mean())


def _checked(first: Tensor, second: Tensor) -> list[Float[Tensor, "row _"]]:
    if len(first) != len(second) or len(first) < FEWEST:
        raise InputError(
            f"{len(first)} and {len(second)} rows; give the same inputs on both sides, at least "
            f"{FEWEST}"
        )
    for side in (first, second):
        if not bool(torch.isfinite(side).all()):
            raise InputError(
                "a representation has values that are not finite; record it again in float32"
            )
    return [first.detach().double(), second.detach().double()]
