"""The way from noise to images when the network's answers, as they are and as changed, come from a function."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp.diffusion.edits import Rule, edited_step, start_noise
from interp.diffusion.levels import ddim
from interp.models import UNetModel

Answers = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""Given a step and its noised images: the network's answer as it is, and as changed (the same tensor where nothing is)."""


@torch.no_grad()
def trajectory(
    model: UNetModel, seeds: Sequence[int], answers: Answers, *, rule: Rule, steps: int, eta: float = 0.0
) -> Float[Tensor, "image channel y x"]:
    """Sample one batch as `sample_edited` does, from the same noise, with `answers` in place of the network's own.

    Raises:
        InputError: the model has no scheduler, or a number of steps that does not fit.

    Cost: what `answers` costs, once per step.

    Example:
        >>> trajectory(model, image_seeds(4, 0), answers, rule="asymmetric", steps=20)
    """
    scheduler, levels = ddim(model, steps)
    images: Tensor = start_noise(model, seeds) * scheduler.init_noise_sigma
    for step in range(steps):
        plain, edited = answers(step, images)
        noise = start_noise(model, seeds, stream=1 + step) if eta > 0 else None
        images = edited_step(scheduler, levels, step, images, plain, edited, rule=rule, eta=eta, noise=noise)
    return images
