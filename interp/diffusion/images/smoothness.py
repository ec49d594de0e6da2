"""Interpolation smoothness: do even steps between two noises make even steps between two images?"""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Score, bootstrap_mean
from interp.diffusion.edits.inversion import decode
from interp.diffusion.edits.straight import start_noise
from interp.diffusion.sampling.ddim import STEPS, image_seeds
from interp.models import UNetModel


@dataclass(frozen=True)
class Smoothness:
    """How uneven the path between images is, on average over pairs.

    With `d_k = ‖image_{k+1} − image_k‖` in pixel values of 0 to 255, `istd` is the standard
    deviation of d over a pair's steps, `step` its mean, `variation` their ratio. Published `istd`s
    come without a formula; this one is ours. Compare `variation`: a generator that hardly changes
    has a small `istd`. Its control, mixing the two images themselves, is 0.
    """

    istd: Score
    step: Score
    variation: Score


@torch.no_grad()
def interpolation_smoothness(
    model: UNetModel, pairs: int = 32, *, between: int = 8, seed: int = 0, steps: int = STEPS
) -> Smoothness:
    """Walk between two noises on the sphere in `between` even steps; measure the images' steps.

    Raises:
        InputError: no pairs, or fewer than two steps between.

    Source of the idea: Guo et al. 2024 (arXiv 2312.04410). Cost: `pairs × (between + 1) × steps`
    evaluations of the UNet.

    Example:
        >>> interpolation_smoothness(model, 32, seed=0).variation
    """
    if pairs < 1 or between < 2:
        raise InputError(
            f"{pairs} pairs with {between} steps between; give at least 1 pair and 2 steps"
        )
    noise = start_noise(model, image_seeds(2 * pairs, seed))
    sizes = []
    for pair in range(pairs):
        path = spherical(noise[2 * pair], noise[2 * pair + 1], between + 1)
        images = decode(model, path, steps=steps) * 127.5
        sizes.append((images[1:] - images[:-1]).flatten(1).norm(dim=1).double().cpu().numpy())
    steps_of = np.stack(sizes)
    mean, sd = steps_of.mean(axis=1), steps_of.std(axis=1)
    variation = bootstrap_mean(sd / np.maximum(mean, 1e-12), seed=seed, control=0.0)
    return Smoothness(bootstrap_mean(sd, seed=seed), bootstrap_mean(mean, seed=seed), variation)


def spherical(
    start: Float[Tensor, "channel y x"], end: Float[Tensor, "channel y x"], count: int
) -> Float[Tensor, "point channel y x"]:
    """`count` points from start to end at even angles (Shoemake 1985); a line if they are parallel.

    Example:
        >>> spherical(noise[0], noise[1], 9)
    """
    line = torch.linspace(0, 1, count, dtype=start.dtype, device=start.device)
    shares = rearrange(line, "point -> point 1 1 1")
    cosine = torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), dim=0)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if float(torch.sin(angle)) < 1e-4:
        return start + shares * (end - start)
    mixed = torch.sin((1 - shares) * angle) * start + torch.sin(shares * angle) * end
    return mixed / torch.sin(angle)
