"""Principal components as a dictionary."""

import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations
from interp.decompose.checks import (
    column_mean,
    fitted_from,
    require_n_features,
    require_rows,
    row_chunks,
)
from interp.decompose.dictionary import Dictionary, Method
from interp.decompose.storage import stored


@stored
@dataclass(frozen=True, eq=False, repr=False)
class Pca(Dictionary):
    """Principal components: orthonormal directions by falling variance; coefficients are signed
    projections of `acts − mean`.

    `variance [feature]` is each direction's variance over the fitted rows.
    """

    variance: Float[Tensor, " feature"]

    method: ClassVar[Method] = "pca"

    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        return (values - self.offset) @ self.directions.T


@torch.no_grad()
def fit_pca(acts: Activations | Float[Tensor, "row d"], n_features: int, *, seed: int = 0) -> Pca:
    """The `n_features` directions of largest variance.

    `min ‖acts − mean − coefficients @ directions‖²  s.t.  directions are orthonormal`: the leading
    eigenvectors of the covariance, with signs that make each direction's largest entry positive.
    Nothing is random; `seed` is only recorded.

    Args:
        acts: `[row, d]`, read twice in chunks.
        n_features: at most d and the number of rows.

    Raises:
        InputError: an argument is out of range, or the activations are empty, not finite or all
            zero.

    Source: Pearson 1901. Cost: `2·row·d²` FLOP and one eigendecomposition of a `[d, d]` matrix.

    Example:
        >>> pca = fit_pca(acts, 20)
        >>> pca.variance / pca.variance.sum()
    """
    values = require_rows(acts)
    require_n_features(n_features, min(values.shape), "the smaller of rows and width")
    started = time.perf_counter()
    mean = column_mean(values)
    covariance = torch.zeros(len(mean), len(mean), device=values.device)
    for _, chunk in row_chunks(values):
        centred = chunk - mean
        covariance.addmm_(centred.T, centred, alpha=1 / len(values))
    variance, vectors = torch.linalg.eigh(covariance)
    directions = vectors.T.flip(0)[:n_features]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    cost = {"seconds": time.perf_counter() - started}
    return Pca(
        directions=(directions * largest.sign()).contiguous(),
        offset=mean,
        provenance=fitted_from(acts, "pca", {"n_features": n_features}, seed, cost),
        variance=variance.flip(0)[:n_features].clamp(min=0),
    )
