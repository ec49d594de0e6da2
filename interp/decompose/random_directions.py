"""Random directions: the control for every other dictionary."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations
from interp.decompose.checks import fitted_from, require_n_features, require_rows, require_sparsity
from interp.decompose.dictionary import Dictionary, Method
from interp.decompose.storage import stored


@stored
@dataclass(frozen=True, eq=False, repr=False)
class RandomDirections(Dictionary):
    """Random unit directions; coefficients are signed projections `acts @ directionsᵀ`, which do
    not reconstruct.
    """

    method: ClassVar[Method] = "random"

    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        return values @ self.directions.T


@torch.no_grad()
def random_dictionary(
    acts: Activations | Float[Tensor, "row d"],
    n_features: int,
    *,
    sparsity: float = 1.0,
    seed: int = 0,
) -> RandomDirections:
    """Random unit directions in the space of some activations, dense or as sparse as another
    dictionary's.

    `ceil(sparsity·d)` entries at random places are standard normal, then scaled to unit norm: with
    sparsity 1 the directions are uniform on the sphere.

    Args:
        acts: `[row, d]`; only the width, the site and the device matter.
        n_features: at least 1.
        sparsity: fraction of non-zero entries, as of the semi-NMF to match.

    Raises:
        InputError: an argument is out of range, or the activations are empty, not finite or all
            zero.

    Source: the random control of Adebayo et al. 2018. Cost: `feature·d` draws.

    Example:
        >>> control = random_dictionary(acts, len(snmf), sparsity=0.01, seed=1)
    """
    values = require_rows(acts)
    require_n_features(n_features)
    require_sparsity(sparsity)
    generator = torch.Generator().manual_seed(seed)
    width = values.shape[1]
    kept = math.ceil(sparsity * width - 1e-9)
    places = torch.rand(n_features, width, generator=generator).topk(kept, dim=1).indices
    drawn = torch.randn(n_features, kept, generator=generator)
    directions = torch.zeros(n_features, width).scatter_(
        1, places, drawn / drawn.norm(dim=1, keepdim=True)
    )
    parameters = {"n_features": n_features, "sparsity": sparsity, "kept_entries": kept}
    return RandomDirections(
        directions=directions.to(values.device),
        offset=torch.zeros(width, device=values.device),
        provenance=fitted_from(acts, "random", parameters, seed, {}),
    )
