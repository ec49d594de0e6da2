"""Contact sheets of directions, and a count of a network's evaluations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.edits.straight import Edit, sample_edited
from interp.diffusion.images.sheets import sheet
from interp.diffusion.sampling.labels import Labels
from interp.models import UNetModel
from interp.models.hooks import observing
from interp.studies.directions.result import Contact


def contact_sheet(
    model: UNetModel,
    images: Float[Tensor, "image channel y x"],
    direction: StepDirections,
    strengths: Sequence[float],
    *,
    seed: int,
    labels: Labels | None = None,
) -> Contact:
    """A row per image, a column per strength of a direction; `images` are the seed's, unedited.

    Cost: a sampling of the images per strength that is not 0.

    Example:
        >>> strengths = (-0.08, -0.04, 0.0, 0.04, 0.08)
        >>> contact_sheet(model, trial.images[:6], directions["x"], strengths, seed=trial.seed)
    """

    def made(strength: float) -> Tensor:
        edit = Edit(direction, (strength,))
        return sample_edited(
            model, len(images), edit, seed=seed, steps=direction.total, labels=labels
        )

    columns = torch.stack([made(strength) if strength else images for strength in strengths])
    rows = rearrange(columns, "strength image channel y x -> (image strength) channel y x")
    return Contact(direction.names[0], tuple(strengths), sheet(rows, len(strengths)))


@contextmanager
def counting(module: Any) -> Iterator[list[int]]:
    """Count the images given to a network in the block."""
    counted = [0]

    def count(part: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        counted[0] += len(args[0] if args else kwargs["sample"])

    with observing(module, before=count):
        yield counted
