"""Supervised directions: the mean of samples with much of a factor minus that with little."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.records.activations import StepActivations


def mean_difference_directions(
    acts: StepActivations,
    labels: Mapping[str, Float[Tensor, " image"]],
    per_side: int = 60,
    *,
    sample: int | None = None,
    seed: int = 0,
) -> StepDirections:
    """For every factor, `mean(h of the top per_side) − mean(h of the bottom per_side)` at every
    step.

    Args:
        acts: recorded samples, `[image, step, channel, y, x]`.
        labels: each factor's value per sample: known, read off, or a classifier's; NaNs are left
            out of that factor.
        sample: rank only this many samples, drawn at random.

    Raises:
        InputError: labels and samples differ in number, too few samples, or a factor that does not
            vary.

    Source: Haas et al. 2024 (arXiv 2303.11073), section 4. Cost: a sort per factor.

    Example:
        >>> directions = mean_difference_directions(acts, factor_table(read_shapes, acts.images))
    """
    if per_side < 1 or not labels:
        raise InputError(
            f"per_side is {per_side}, with {len(labels)} factors; give at least 1 of each"
        )
    picked = torch.arange(len(acts))
    if sample is not None:
        picked = torch.randperm(len(acts), generator=torch.Generator().manual_seed(seed))[:sample]
    found = [
        _difference(acts.values, name, values, picked, per_side) for name, values in labels.items()
    ]
    return directions_like(acts, torch.stack(found), list(labels), "mean difference")


def _difference(
    values: Tensor, name: str, label: Float[Tensor, " image"], picked: Tensor, per_side: int
) -> Tensor:
    if len(label) != len(values):
        raise InputError(
            f"{len(label)} values of {name!r} for {len(values)} samples; give one per sample"
        )
    known = picked[~label[picked].isnan()]
    if len(known) < 2 * per_side:
        raise InputError(
            f"{len(known)} samples have a value of {name!r}, {2 * per_side} are needed; record "
            "more, or take fewer per side"
        )
    if float(label[known].std()) == 0:
        raise InputError(
            f"{name!r} is the same in every sample, so it has no direction; leave it out"
        )
    order = known[label[known].argsort()]
    return values[order[-per_side:]].mean(dim=0) - values[order[:per_side]].mean(dim=0)
