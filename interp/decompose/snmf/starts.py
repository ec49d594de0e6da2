"""First coefficients for alternating factorisations: k-means, uniform, or singular vectors."""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import InputError
from interp.decompose.checks import row_chunks

Init = Literal["kmeans", "random", "svd"]

SAMPLE_PER_CENTRE = 16
LLOYD_ROUNDS = 5
SUBSPACE_ROUNDS = 6


def first_coefficients(
    values: Float[Tensor, "row d"],
    scale: Float[Tensor, " row"],
    n_features: int,
    init: Init,
    generator: torch.Generator,
) -> Float[Tensor, "row feature"]:
    """Non-negative coefficients to start from; `scale` multiplies the rows."""
    if init == "random":
        return torch.rand(len(values), n_features, generator=generator).to(values.device)
    if init == "svd":
        return _singular_halves(values, scale, n_features, generator)
    members = kmeans(values, scale, n_features, generator)
    return torch.zeros(len(values), n_features, device=values.device).scatter_(
        1, members[:, None], 1.0
    )


def kmeans(
    values: Float[Tensor, "row d"],
    scale: Float[Tensor, " row"],
    n_features: int,
    generator: torch.Generator,
) -> Int[Tensor, " row"]:
    """Each row's cluster after k-means++ seeding on a sample (Arthur & Vassilvitskii 2007) and a
    few Lloyd rounds on all rows.
    """
    count = min(len(values), n_features * SAMPLE_PER_CENTRE)
    sample = (
        torch.randperm(len(values), generator=generator)[:count].sort().values.to(values.device)
    )
    centres = _spread(
        values[sample].detach().to(torch.float32) * scale[sample, None], n_features, generator
    )
    members = torch.zeros(len(values), dtype=torch.int64, device=values.device)
    for _ in range(LLOYD_ROUNDS):
        sums, sizes = torch.zeros_like(centres), torch.zeros(n_features, device=values.device)
        for rows, chunk in row_chunks(values):
            scaled = chunk * scale[rows, None]
            nearest = torch.addmm(centres.square().sum(dim=1), scaled, centres.T, alpha=-2).argmin(
                dim=1
            )
            onehot = torch.nn.functional.one_hot(nearest, n_features).to(torch.float32)
            sums.addmm_(onehot.T, scaled)
            sizes += onehot.sum(dim=0)
            members[rows] = nearest
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centres)
    return members


def _spread(
    sample: Float[Tensor, "sample d"], n_features: int, generator: torch.Generator
) -> Float[Tensor, "feature d"]:
    """k-means++: draw centres with probability proportional to the squared distance from the
    nearest one.
    """
    centres = [int(torch.randint(len(sample), (1,), generator=generator))]
    norms = sample.square().sum(dim=1)
    distance = torch.full_like(norms, torch.inf)
    for _ in range(n_features - 1):
        centre = sample[centres[-1]]
        distance = torch.minimum(
            distance, (norms - 2 * sample @ centre + centre @ centre).clamp_(min=0)
        )
        # On the CPU, so that the draw is the same for all devices.
        cumulative = distance.double().cumsum(dim=0).cpu()
        point = torch.rand(1, generator=generator, dtype=torch.float64) * cumulative[-1]
        centres.append(min(int(torch.searchsorted(cumulative, point)), len(sample) - 1))
    return sample[centres]


def _singular_halves(
    values: Float[Tensor, "row d"],
    scale: Float[Tensor, " row"],
    n_features: int,
    generator: torch.Generator,
) -> Float[Tensor, "row feature"]:
    """Positive and negative parts of the leading left singular vectors times singular values."""
    rank = (n_features + 1) // 2
    if rank > min(values.shape):
        raise InputError(
            f"init='svd' gives at most {2 * min(values.shape)} features here, not {n_features}; "
            "use 'kmeans' or 'random'"
        )
    basis = torch.randn(values.shape[1], rank, generator=generator).to(values.device)
    for _ in range(SUBSPACE_ROUNDS):
        moved = torch.zeros_like(basis)
        for rows, chunk in row_chunks(values):
            scaled = chunk * scale[rows, None]
            moved.addmm_(scaled.T, scaled @ basis)
        basis = torch.linalg.qr(moved).Q
    halves = torch.empty(len(values), n_features, device=values.device)
    for rows, chunk in row_chunks(values):
        left = (chunk * scale[rows, None]) @ basis
        signs = [left.clamp(min=0), left.neg().clamp_(min=0)]
        halves[rows] = rearrange(signs, "sign row rank -> row (rank sign)")[:, :n_features]
    return halves
