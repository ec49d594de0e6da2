"""Directions with others projected out, so that an edit leaves named factors alone."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections


def projected_out(
    directions: StepDirections, others: StepDirections, *, each_step: bool = False
) -> StepDirections:
    """The part of every direction orthogonal to all of `others`: `n − Nᵀ (N Nᵀ)⁻¹ N n`.

    One projector for all steps together, or one per step. Others that are not orthogonal could not
    be projected out one by one.

    Raises:
        InputError: directions of other sites or steps, or one in the span of the others.

    Source: Haas et al. 2024 (arXiv 2303.11073), section 4. Cost: one QR decomposition of the
    others.

    Example:
        >>> projected_out(directions["x"], directions["radius"])
    """
    if (directions.site, directions.timesteps) != (
        others.site,
        others.timesteps,
    ) or directions.values[0].shape != others.values[0].shape:
        raise InputError(
            f"directions of {directions.site} and of {others.site} at other steps; give "
            "directions recorded together"
        )
    if each_step:
        columns = [
            _without(directions.values[:, i].flatten(1), others.values[:, i].flatten(1))
            for i in range(len(directions.steps))
        ]
        left = torch.stack(columns, dim=1).flatten(1)
    else:
        left = _without(directions.flat, others.flat)
    share = left.norm(dim=1) / directions.norms
    if float(share.min()) < 1e-4:
        raise InputError(
            f"{directions.names[int(share.argmin())]!r} lies in the span of "
            f"{', '.join(others.names)}; nothing would be left"
        )
    return replace(
        directions,
        values=left.reshape(directions.values.shape),
        method=f"{directions.method}, projected",
    )


def overlap(directions: StepDirections, span: StepDirections) -> Float[Tensor, " direction"]:
    """The share of each direction's squared length that lies in a span (1 within, `n/d` by chance).

    Example:
        >>> overlap(supervised, pca.first(4))
    """
    inside = directions.flat.double() - _without(directions.flat, span.flat).double()
    return (inside.square().sum(dim=1) / directions.flat.double().square().sum(dim=1)).to(
        directions.values
    )


def _without(
    rows: Float[Tensor, "direction d"], others: Float[Tensor, "other d"]
) -> Float[Tensor, "direction d"]:
    # SVD, not QR: dependent others must not add directions made of rounding.
    left, sizes, _ = torch.linalg.svd(others.double().T, full_matrices=False)
    basis = left[:, sizes > sizes.max() * 1e-7]
    wide = rows.double()
    return (wide - (wide @ basis) @ basis.T).to(rows)
