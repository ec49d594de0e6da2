"""Difference in means: one labelled direction per concept."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError
from interp.decompose.checks import column_mean, fitted_from, require_rows
from interp.decompose.dictionary import Dictionary, Method
from interp.decompose.storage import stored


@stored
@dataclass(frozen=True, eq=False, repr=False)
class DifferenceInMeans(Dictionary):
    """Directions from the negatives' mean to each concept's; coefficients are signed projections
    of `acts − mean of the negatives`.
    """

    method: ClassVar[Method] = "difference_in_means"

    @property
    def names(self) -> tuple[str, ...]:
        """The concept of each direction."""
        return tuple(self.provenance.parameters["names"])

    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        return (values - self.offset) @ self.directions.T


def fit_difference_in_means(
    positive: Activations | Float[Tensor, "row d"],
    negative: Activations | Float[Tensor, "other_row other_d"],
    *,
    name: str = "concept",
) -> DifferenceInMeans:
    """The direction from the mean of one set of rows to the mean of another.

    `direction = (mean(positive) − mean(negative)) / ‖…‖`; the offset is `mean(negative)`.

    Args:
        positive: rows of the concept's examples, `[row, d]`.
        negative: rows of neutral examples at the same site, `[row, d]`.
        name: the concept's name.

    Raises:
        InputError: a set is empty or not finite, the sets differ in site or width, or their means
            are equal.

    Source: Marks & Tegmark 2023 (arXiv 2310.06824), "mass-mean". Cost: one read of the rows.

    Example:
        >>> dim = fit_difference_in_means(sad_acts, neutral_acts, name="sadness")
        >>> dim.encode(new_acts)[:, 0]
    """
    return fit_difference_in_means_many({name: positive}, negative)


@torch.no_grad()
def fit_difference_in_means_many(
    groups: Mapping[str, Activations | Tensor], negative: Activations | Float[Tensor, "row d"]
) -> DifferenceInMeans:
    """`fit_difference_in_means` for several concepts against the same negatives, as one dictionary.

    Args:
        groups: concept names to rows of their examples, `[row, d]` each.
        negative: rows of neutral examples at the same site, `[row, d]`.

    Raises:
        InputError: there are no concepts, a set is empty or not finite, the sets differ in site or
            width, or two means are equal.

    Example:
        >>> dim = fit_difference_in_means_many(
        ...     {"sadness": sad_acts, "joy": joyful_acts}, neutral_acts
        ... )
        >>> dim.names
        ('sadness', 'joy')
    """
    if not groups:
        raise InputError("groups is empty; give the rows of at least one concept")
    started = time.perf_counter()
    base = column_mean(require_rows(negative, "negative activations"))
    directions = torch.stack(
        [_direction(name, acts, negative, base) for name, acts in groups.items()]
    )
    parameters = {
        "names": list(groups),
        "positive_rows": {name: len(acts) for name, acts in groups.items()},
    }
    cost = {"seconds": time.perf_counter() - started}
    provenance = fitted_from(negative, "difference_in_means", parameters, None, cost)
    return DifferenceInMeans(directions, base, provenance)


def _direction(
    name: str, acts: Activations | Tensor, negative: Activations | Tensor, base: Float[Tensor, " d"]
) -> Float[Tensor, " d"]:
    if (
        isinstance(acts, Activations)
        and isinstance(negative, Activations)
        and acts.site != negative.site
    ):
        raise InputError(
            f"rows of {name!r} are of {acts.site!r}, the negatives of {negative.site!r}; record "
            "both at the same site"
        )
    mean = column_mean(require_rows(acts, f"activations of {name!r}"))
    if mean.shape != base.shape:
        raise InputError(
            f"rows of {name!r} are {len(mean)} wide, the negatives {len(base)}; record both at the "
            "same site"
        )
    difference = mean - base
    if not bool(difference.any()):
        raise InputError(
            f"the mean of {name!r} equals the mean of the negatives; give examples that differ "
            "from them"
        )
    return difference / difference.norm()
