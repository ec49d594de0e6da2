"""DDIM inversion: the noise from which a deterministic sampler makes a given image."""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.diffusion.edits.straight import answer
from interp.diffusion.sampling.ddim import STEPS
from interp.diffusion.sampling.labels import Labels, checked_labels, labelled
from interp.diffusion.sampling.levels import NoiseLevels, ddim
from interp.models import UNetModel


@dataclass(frozen=True, eq=False)
class Inverted:
    """The `noise` to sample from, the `path` of images before every step (the first is the noise),
    and the mean squared `error` of each image sampled from its noise.
    """

    noise: Float[Tensor, "image channel y x"]
    path: Float[Tensor, "step image channel y x"]
    error: Float[Tensor, " image"]
    steps: int


@torch.no_grad()
def invert(
    model: UNetModel,
    images: Float[Tensor, "image channel y x"],
    *,
    steps: int = STEPS,
    refinements: int = 0,
    labels: Labels | None = None,
) -> Inverted:
    """Run deterministic DDIM backwards: from each image to the noise that leads to it.

    A step is undone with the noise that the network predicts from the image after it, taken to be
    at the level before it, which is right only if both answers agree. Each refinement corrects
    this: `x ← x + c (x' − step(x))`, with `c = √(ᾱ/ᾱ')` where image outweighs noise (the
    fixed-point iteration of Pan et al. 2023), else `√((1−ᾱ)/(1−ᾱ'))`; a correction that increases
    an image's error is reverted.

    Raises:
        InputError: images of another size or range than the network's, or labels that do not fit.

    Source: Song, Meng & Ermon 2021, section 4.3. Cost: `steps × (2 + refinements)` evaluations of
    the network.

    Example:
        >>> found = invert(model, images, refinements=5)
        >>> decode(model, found.noise)
    """
    require_images(model, images)
    checked_labels(labels, len(images))
    scheduler, levels = ddim(model, steps)
    path = [images.to(model.device, model.module.dtype)]
    with labelled(model.module, labels):
        for step in reversed(range(steps)):
            path.append(_undone(model, scheduler, levels, step, path[-1], refinements))
        made = _decoded(model, scheduler, levels, path[-1])
    error = (made - path[0]).square().flatten(1).mean(dim=1)
    return Inverted(path[-1], torch.stack(path[:0:-1]), error, steps)


@torch.no_grad()
def decode(
    model: UNetModel,
    noise: Float[Tensor, "image channel y x"],
    *,
    steps: int = STEPS,
    labels: Labels | None = None,
) -> Float[Tensor, "image channel y x"]:
    """The images that deterministic DDIM makes of noise.

    Raises:
        InputError: noise of another size, or labels that do not fit.

    Example:
        >>> decode(model, found.noise, labels=other_class)
    """
    checked_labels(labels, len(noise))
    scheduler, levels = ddim(model, steps)
    with labelled(model.module, labels):
        return _decoded(model, scheduler, levels, noise)


def require_images(model: UNetModel, images: Float[Tensor, "image channel y x"]) -> None:
    """Require that images are of the network's size and range.

    Raises:
        InputError: they are not.
    """
    size = model.module.config.sample_size
    height, width = (size, size) if isinstance(size, int) or size is None else size
    wanted = (
        model.module.config.in_channels,
        *(images.shape[2:] if size is None else (height, width)),
    )
    if images.shape[1:] != wanted or len(images) == 0:
        raise InputError(
            f"images are {tuple(images.shape)}; this network takes {wanted}, one or more"
        )
    low, high = float(images.min()), float(images.max())
    if not (bool(images.isfinite().all()) and low >= -1.5 and high <= 1.5) or low >= 0:
        raise InputError(
            f"images have values from {low:.3g} to {high:.3g}; give them from -1 to 1 (of 0 to "
            "1: 2 * images - 1)"
        )


def _undone(
    model: UNetModel,
    scheduler: Any,
    levels: NoiseLevels,
    step: int,
    after: Tensor,
    refinements: int,
) -> Tensor:
    time, now, later = levels.timesteps[step], float(levels.now[step]), float(levels.after[step])
    seen = scheduler.step(answer(model, after, time), time, after)
    noise = (after - now**0.5 * seen.pred_original_sample) / (1 - now) ** 0.5
    clean = (after - (1 - later) ** 0.5 * noise) / later**0.5
    found = now**0.5 * clean + (1 - now) ** 0.5 * noise
    # After the last step no noise is left, and the second ratio would divide by zero.
    share = (now / later) ** 0.5 if now > 0.5 or later == 1 else ((1 - now) / (1 - later)) ** 0.5
    best, least = found, None
    for turn in range(refinements + 1 if refinements else 0):
        missing = after - scheduler.step(answer(model, found, time), time, found).prev_sample
        size = missing.square().flatten(1).mean(dim=1)
        better = torch.ones_like(size, dtype=torch.bool) if least is None else size < least
        best = torch.where(rearrange(better, "image -> image 1 1 1"), found, best)
        least = size if least is None else torch.minimum(least, size)
        if turn < refinements:
            found = found + share * missing
    return best


def _decoded(model: UNetModel, scheduler: Any, levels: NoiseLevels, noise: Tensor) -> Tensor:
    images = noise
    for time in levels.timesteps:
        images = scheduler.step(answer(model, images, time), time, images).prev_sample
    return images
