"""Factors of images: readers, functions from images to numbers that need neither person nor
classifier; here the one for handwriting.

Readers of drawn scenes are in `interp.testbeds.images`: `shapes` and `pendulum`.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from interp.core import InputError

Reader = Callable[[Tensor], Mapping[str, Tensor]]
"""Images `[image, channel, y, x]` to each factor's value per image, NaN where it cannot be read."""

LEAST = 8
"""The fewest readable images on which anything is measured."""

LEAST_INK = 0.005


def require_readable(kept: Bool[Tensor | np.ndarray, " image"], what: str, advice: str) -> None:
    """Require that at least `LEAST` images are `kept`.

    Raises:
        InputError: fewer are; the message counts `what` and ends in `advice`.
    """
    count = int(kept.sum())
    if count < LEAST:
        raise InputError(
            f"{count} of {len(kept)} {what} could be read, {LEAST} are needed; {advice}"
        )


def factor_table(
    read: Reader, images: Float[Tensor, "image channel y x"]
) -> dict[str, Float[Tensor, " image"]]:
    """Every factor of every image, in float64.

    Raises:
        InputError: the reader names no factor, or gives more or fewer values than images.
    """
    table = {name: value.detach().cpu().double() for name, value in read(images).items()}
    if not table:
        raise InputError("the reader names no factor; give a function from images to named values")
    for name, value in table.items():
        if value.shape != (len(images),):
            raise InputError(
                f"the reader gave {tuple(value.shape)} values of {name!r} for {len(images)} "
                "images; give one per image"
            )
    return table


def read_strokes(images: Float[Tensor, "image 1 y x"]) -> dict[str, Float[Tensor, " image"]]:
    """Measures of a bright stroke on black, from −1 (black) to 1: ink, thickness, slant, width and
    height; NaN where there is no ink.

    `ink` is the mean brightness (0 to 1). `thickness` is twice the area over the outline's length
    (the sum of gradients), exact for long strokes. `slant` is the shear `cov(x, y) / var(y)`,
    positive where the top leans right; `width` and `height` are four standard deviations of the
    ink's position, in pixels.

    Cost: a few passes over the images.

    Example:
        >>> read_strokes(2 * mnist_digits().images - 1)["slant"]
    """
    bright = ((images[:, 0] + 1) / 2).clamp(0, 1)
    total = bright.sum(dim=(1, 2))
    share = bright / rearrange(total.clamp(min=1e-9), "image -> image 1 1")
    up, right = _centred(share, 1), _centred(share, 2)
    tall, wide = (share * up**2).sum(dim=(1, 2)), (share * right**2).sum(dim=(1, 2))
    lean = -(share * up * right).sum(dim=(1, 2))
    values = {
        "ink": bright.mean(dim=(1, 2)),
        "thickness": 2 * total / _outline(bright).clamp(min=1e-9),
        "slant": lean / tall.clamp(min=1e-9),
        "width": 4 * wide.sqrt(),
        "height": 4 * tall.sqrt(),
    }
    none = bright.mean(dim=(1, 2)) < LEAST_INK
    return {name: torch.where(none, torch.nan, value) for name, value in values.items()}


def _centred(share: Float[Tensor, "image y x"], axis: int) -> Float[Tensor, "image y x"]:
    """Each pixel's signed distance from the centre of mass along an axis."""
    shape = "y -> 1 y 1" if axis == 1 else "x -> 1 1 x"
    places = rearrange(torch.arange(share.shape[axis]).to(share), shape).expand_as(share)
    return places - (share * places).sum(dim=(1, 2), keepdim=True)


def _outline(bright: Float[Tensor, "image y x"]) -> Float[Tensor, " image"]:
    padded = torch.nn.functional.pad(bright, (1, 1, 1, 1))
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    return torch.hypot(down, across).sum(dim=(1, 2))
