"""What a study measures of every direction: its effect both ways, the strength that has a wanted
one, and a contact sheet.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.edits.straight import Edit, sample_edited
from interp.diffusion.images.sheets import sheet
from interp.diffusion.sampling.labels import Labels
from interp.diffusion.scores.effects import Trial
from interp.models import UNetModel
from interp.models.hooks import observing
from interp.studies.directions.result import Contact

TRIES = 5
NEAR = 0.2
"""A strength is reached whose effect is within this share of the wanted one."""


def contact_sheet(
    model: UNetModel,
    images: Float[Tensor, "image channel y x"],
    direction: StepDirections,
    strengths: Sequence[float],
    *,
    seed: int,
    labels: Labels | None = None,
) -> Contact:
    """Every image in a row, at every strength of a direction in a column; `images` are those of the
    seed without an edit.

    Cost: a sampling of the images per strength that is not 0.

    Example:
        >>> contact_sheet(
        ...     model,
        ...     trial.images[:6],
        ...     directions["x"],
        ...     (-0.08, -0.04, 0.0, 0.04, 0.08),
        ...     seed=trial.seed,
        ... )
    """

    def made(strength: float) -> Tensor:
        edit = Edit(direction, (float(strength),))
        return sample_edited(
            model, len(images), edit, seed=seed, steps=direction.total, labels=labels
        )

    return contact(
        direction.names[0],
        strengths,
        [made(strength) if strength else images for strength in strengths],
    )


def contact(
    name: str, strengths: Sequence[float], images: Sequence[Float[Tensor, "image channel y x"]]
) -> Contact:
    """A contact sheet of images that were made already, one set per strength."""
    picture = sheet(torch.stack(list(images), dim=1).flatten(0, 1), len(strengths))
    return Contact(name, tuple(float(strength) for strength in strengths), picture)


def head(trial: Trial, count: int) -> Trial:
    """The first images of a trial: a seed's images are the same, however many there are."""
    labels = None if trial.labels is None else trial.labels[:count]
    return replace(trial, base=trial.base[:count], images=trial.images[:count], labels=labels)


def both_ways(
    trial: Trial, direction: StepDirections, strength: float
) -> dict[int, Float[Tensor, "image channel y x"]]:
    """A trial's images at a strength (1) and at its opposite (−1)."""
    return {sign: trial.made(Edit(direction, (sign * strength,))) for sign in (-1, 1)}


def odd_part(
    trial: Trial, images: Mapping[int, Float[Tensor, "image channel y x"]]
) -> Float[np.ndarray, "readable factor"]:
    """Half of what one sign does less what the other does, over images that can be read under both:
    it leaves out what any push does.

    Raises:
        InputError: fewer than two can be read.
    """
    up, down = (trial.judge.table(images[sign]) - trial.base for sign in (1, -1))
    moved = (up - down) / 2
    kept = ~moved.isnan().any(dim=1)
    if int(kept.sum()) < 2:
        raise InputError(
            f"{int(kept.sum())} of {len(kept)} edited images could be read; see whether the "
            "network passes its gate"
        )
    return moved[kept].numpy()


def common_strength(
    trial: Trial, direction: StepDirections, wanted: float, start: float, most: float
) -> tuple[float, bool]:
    """The strength at which the factor that a direction moves most moves by `wanted`, either way,
    and whether it comes within a fifth.

    Cost: at most 5 samplings of the trial's images.
    """
    strength, low, high = start, 0.0, float("inf")
    tried = []
    for _ in range(TRIES):
        moved = trial.changes(Edit(direction, (strength,)))
        readable = ~moved.isnan().any(dim=1)
        # An edit that makes most images unreadable is too strong, whatever the rest of them do.
        largest = (
            float(moved[readable].mean(dim=0).abs().max())
            if 2 * int(readable.sum()) > len(moved)
            else float("inf")
        )
        tried.append((abs(largest - wanted), strength))
        if abs(largest - wanted) < NEAR * wanted:
            return strength, True
        low, high = (max(low, strength), high) if largest < wanted else (low, min(high, strength))
        guess = min(strength * float(np.clip(wanted / max(largest, 1e-3), 0.25, 4.0)), most)
        strength = (
            guess if low < guess < high else (low * high) ** 0.5 if 0 < low < high < most else guess
        )
    return min(tried)[1], False


@contextmanager
def counting(module: Any) -> Iterator[list[int]]:
    """For the length of the block, count the images that a network is given."""
    counted = [0]

    def count(part: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        counted[0] += len(args[0] if args else kwargs["sample"])

    with observing(module, before=count):
        yield counted
