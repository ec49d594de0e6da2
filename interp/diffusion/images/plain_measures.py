"""Measures of light and colour of any image, for networks whose factors are unknown."""

import torch
from jaxtyping import Float
from torch import Tensor


def read_layout(images: Float[Tensor, "image channel y x"]) -> dict[str, Float[Tensor, " image"]]:
    """`brightness` (mean), `contrast` (standard deviation over pixels), `lean right` and `lean
    down` (the mean of one half minus that of the other), and in colour `warmth` (red minus blue).

    They describe the picture, not its content: a direction that moves none may still change a face,
    and one that moves brightness may do so by changing a hat.

    Cost: a few passes over the images.

    Example:
        >>> read_layout(sample(model, 64, seed=0))["brightness"]
    """
    grey = images.mean(dim=1)
    across, down = grey.shape[2] // 2, grey.shape[1] // 2
    found = {
        "brightness": grey.mean(dim=(1, 2)),
        "contrast": grey.flatten(1).std(dim=1),
        "lean right": _mean(grey[:, :, -across:]) - _mean(grey[:, :, :across]),
        "lean down": _mean(grey[:, -down:]) - _mean(grey[:, :down]),
    }
    if images.shape[1] >= 3:
        found["warmth"] = _mean(images[:, 0]) - _mean(images[:, 2])
    return {name: torch.where(value.isfinite(), value, torch.nan) for name, value in found.items()}


def _mean(values: Float[Tensor, "image y x"]) -> Float[Tensor, " image"]:
    return values.mean(dim=(1, 2))
