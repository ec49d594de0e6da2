"""Checks of arguments shared by all decompositions, and the provenance of what they fit."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError, Provenance
from interp.core.activations import values_of
from interp.core.rows import row_chunks as row_chunks


def column_mean(values: Float[Tensor, "row d"]) -> Float[Tensor, " d"]:
    """The mean row, summed in float64."""
    total = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
    for _, chunk in row_chunks(values):
        total += chunk.sum(dim=0, dtype=torch.float64)
    return (total / len(values)).to(torch.float32)


def require_finite(acts: Activations | Float[Tensor, "row d"]) -> None:
    """Check every value, chunk by chunk.

    Raises:
        InputError: a value is NaN or infinite; names the first such row and its context, if any.
    """
    if isinstance(acts, Activations):
        acts.require_finite()
        return
    for rows, chunk in row_chunks(values_of(acts)):
        finite = torch.isfinite(chunk).all(dim=1)
        if not bool(finite.all()):
            row = rows.start + int(torch.nonzero(~finite)[0])
            raise InputError(
                f"row {row} of the activations is not finite; record again in float32 or leave "
                "that row out"
            )


def require_rows(
    acts: Activations | Float[Tensor, "row d"], role: str = "activations"
) -> Float[Tensor, "row d"]:
    """The values of activations, checked before a fit.

    Raises:
        InputError: there are no rows, a value is not finite, or every value is zero.
    """
    values = values_of(acts)
    if values.ndim != 2 or not values.is_floating_point():
        raise InputError(
            f"{role} are {tuple(values.shape)} of {values.dtype}; expected a floating-point tensor "
            "[row, d]"
        )
    if values.numel() == 0:
        raise InputError(f"{role} are empty ({tuple(values.shape)}); select at least one row")
    require_finite(acts)
    if not any(bool(chunk.any()) for _, chunk in row_chunks(values)):
        raise InputError(
            f"every value of the {len(values)} rows of {role} is zero; check the site and the "
            "token selection"
        )
    return values


def require_n_features(n_features: int, limit: int | None = None, reason: str = "") -> None:
    """Check a number of features.

    Raises:
        InputError: it is below 1 or above `limit`.
    """
    if n_features < 1:
        raise InputError(f"n_features is {n_features}; expected at least 1")
    if limit is not None and n_features > limit:
        raise InputError(
            f"n_features is {n_features}; expected at most {limit} ({reason}); ask for fewer "
            "features or record more rows"
        )


def require_sparsity(sparsity: float) -> None:
    """Check a fraction of non-zero entries.

    Raises:
        InputError: it is not in (0, 1].
    """
    if not 0 < sparsity <= 1:
        raise InputError(
            f"sparsity is {sparsity}; expected the fraction of non-zero entries of a direction, "
            "above 0 and at most 1"
        )


def require_positive(values: Mapping[str, int | float]) -> None:
    """Check that each named number is above zero.

    Raises:
        InputError: naming the first that is not.
    """
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{name} is {value}; expected a number above 0")


def fitted_from(
    acts: Activations | Float[Tensor, "row d"],
    method: str,
    parameters: Mapping[str, Any],
    seed: int | None,
    cost: Mapping[str, float],
) -> Provenance:
    """A dictionary's provenance: its activations' and how it was fitted."""
    source = acts.provenance if isinstance(acts, Activations) else Provenance(method)
    site = acts.site if isinstance(acts, Activations) else None
    return source.derive(
        method, parameters={"rows": len(acts), **parameters}, seed=seed, cost=cost, site=site
    )
