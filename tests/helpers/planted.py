"""Matrices whose features are known."""

import torch
from torch import Tensor


def directions(n_features: int, width: int, support: int, seed: int) -> Tensor:
    """Signed unit directions with `support` entries each, at random places."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(n_features, width, generator=generator).topk(support, dim=1).indices
    drawn = torch.randn(n_features, support, generator=generator)
    return torch.zeros(n_features, width).scatter_(
        1, places, drawn / drawn.norm(dim=1, keepdim=True)
    )


def coefficients(
    n_rows: int, n_features: int, seed: int, *, active: float = 0.2, correlated: bool = False
) -> Tensor:
    """Exponential where active; correlated features come in groups of four that tend to be active
    together.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(width: int) -> Tensor:
        return torch.rand(n_rows, width, generator=generator)

    mask = draw(n_features) < active
    if correlated:
        together = (draw(-(-n_features // 4)) < active)[:, torch.arange(n_features) // 4]
        mask = (together & (draw(n_features) < 0.6)) | (draw(n_features) < 0.05)
    return mask * -torch.log(draw(n_features).clamp(min=1e-6))


def noisy(clean: Tensor, noise: float, seed: int) -> Tensor:
    """Add Gaussian noise of a relative norm."""
    drawn = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return clean + noise * drawn * clean.norm() / drawn.norm()


def mixture(
    seed: int,
    *,
    n_rows: int = 4000,
    width: int = 256,
    n_features: int = 20,
    support: int = 13,
    noise: float = 0.05,
    correlated: bool = False,
):
    """Rows, and the directions that they are non-negative mixtures of."""
    planted = directions(n_features, width, support, seed)
    mixed = coefficients(n_rows, n_features, seed + 1, correlated=correlated) @ planted
    return noisy(mixed, noise, seed + 2), planted
