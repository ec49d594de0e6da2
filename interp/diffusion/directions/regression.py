"""Supervised directions by regression: what changes with one factor while the others stay."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.records.activations import StepActivations


def regression_directions(
    acts: StepActivations, labels: Mapping[str, Float[Tensor, " image"]]
) -> StepDirections:
    """The rows of `B` in `h = c + labels @ B`, by least squares at every step: the change of h per
    standard deviation of one factor, the others fixed.

    Unlike mean differences, these do not mix factors that correlate in the samples. Samples with a
    NaN are left out.

    Raises:
        InputError: fewer readable samples than two more than factors, or factors that determine
            each other.

    Cost: one least-squares problem of `samples × factors`.

    Example:
        >>> regression_directions(acts, factor_table(read_shapes, acts.images))["radius"]
    """
    table = torch.stack(list(labels.values()), dim=1).double()
    if len(table) != len(acts):
        raise InputError(f"{len(table)} labels for {len(acts)} samples; give one per sample")
    kept = ~table.isnan().any(dim=1)
    if int(kept.sum()) < table.shape[1] + 2:
        raise InputError(
            f"{int(kept.sum())} samples have every label, {table.shape[1] + 2} are needed; "
            "record more"
        )
    known = table[kept]
    spread = known.std(dim=0)
    design = (known - known.mean(dim=0)) / spread.clamp(min=1e-12)
    if int(torch.linalg.matrix_rank(design, rtol=1e-6)) < design.shape[1]:
        raise InputError(f"{', '.join(labels)} determine each other or do not vary; leave one out")
    values = acts.values[kept].double().flatten(1)
    rows = torch.linalg.lstsq(design, values - values.mean(dim=0)).solution
    return directions_like(acts, rows.to(acts.values), list(labels), "regression")
