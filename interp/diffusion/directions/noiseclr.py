"""Contrastive directions: each does the same to all images, and unlike the others."""

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.edits.straight import answer
from interp.diffusion.records.activations import StepActivations
from interp.diffusion.sampling.levels import noise_levels
from interp.models import Call, UNetModel


def contrast(
    changes: Float[Tensor, "direction image d"], *, temperature: float = 0.5
) -> Float[Tensor, ""]:
    """`−log(pos/neg)`: `pos` is the mean of `exp(cos/τ)` over pairs of images under one direction,
    `neg` over pairs of directions on one image. Unlike InfoNCE, a ratio of means without `pos` in
    the denominator.

    Raises:
        InputError: fewer than two directions or two images.

    Source: Dalva & Yanardag 2024 (arXiv 2312.05390).
    """
    directions, images = changes.shape[:2]
    if directions < 2 or images < 2:
        raise InputError(
            f"{directions} directions on {images} images; a contrast needs two of each"
        )
    unit = torch.nn.functional.normalize(changes, dim=2)
    same = torch.exp(torch.einsum("knd,kmd->knm", unit, unit) / temperature)
    other = torch.exp(torch.einsum("knd,jnd->nkj", unit, unit) / temperature)
    pairs = torch.triu(
        torch.ones(images, images, dtype=torch.bool, device=changes.device), diagonal=1
    )
    apart = ~torch.eye(directions, dtype=torch.bool, device=changes.device)
    return -(same[:, pairs].mean() / other[:, apart].mean()).log()


def contrastive_directions(
    model: UNetModel,
    acts: StepActivations,
    count: int = 8,
    *,
    iterations: int = 150,
    images: int = 8,
    size: float = 0.5,
    temperature: float = 0.5,
    learning_rate: float = 0.05,
    seed: int = 0,
    progress: Progress = silent,
) -> StepDirections:
    """Directions learned by NoiseCLR's objective on changes of a site instead of text tokens, with
    the network frozen.

    Each iteration noises some recorded images anew at one random step and adds each direction at
    the site, scaled to `size` times the standard deviation of the site's activations; Adam lowers
    the `contrast` of the changes in the network's answer. A direction has one pattern for all
    steps, as a token has, and a length per step.

    Args:
        acts: recorded samples: their images are noised, their standard deviations set the lengths.

    Raises:
        InputError: fewer than two directions or images, or another sampler than the recorded one.

    Cost: `iterations` evaluations and backward passes of a batch of `(count + 1) × images`.

    Example:
        >>> contrastive_directions(model, acts, 8, seed=0)
    """
    if count < 2 or images < 2 or images > len(acts):
        raise InputError(
            f"{count} directions on {images} of {len(acts)} images; give at least 2 of each, "
            "at most what was recorded"
        )
    levels = noise_levels(model, acts.total)
    if tuple(levels.timesteps[step] for step in acts.steps) != acts.timesteps:
        raise InputError(
            "the activations were recorded with another sampler than the model's; record them again"
        )
    generator = torch.Generator().manual_seed(seed)
    lengths = acts.values.std(dim=0).flatten(1).norm(dim=1)
    patterns = (
        torch.randn(count, *acts.values.shape[2:], generator=generator)
        .to(acts.values)
        .requires_grad_()
    )
    optimiser = torch.optim.Adam([patterns], lr=learning_rate)
    for iteration in range(iterations):
        place = int(torch.randint(len(acts.steps), (1,), generator=generator))
        rows = torch.randperm(len(acts), generator=generator)[:images]
        kept = float(levels.now[acts.steps[place]])
        noise = torch.randn(acts.images[rows].shape, generator=generator).to(acts.images)
        noised = kept**0.5 * acts.images[rows] + (1 - kept) ** 0.5 * noise
        optimiser.zero_grad()
        with torch.enable_grad():
            added = _unit(patterns) * (size * lengths[place])
            loss = contrast(
                _changes(model, noised, acts.timesteps[place], acts.site, added),
                temperature=temperature,
            )
            (patterns.grad,) = torch.autograd.grad(loss, patterns)
        optimiser.step()
        progress("contrastive directions", iteration + 1, iterations, "iteration")
    values = einsum(
        _unit(patterns.detach()), lengths, "direction c h w, step -> direction step c h w"
    )
    return directions_like(acts, values, [f"contrast {i}" for i in range(count)], "noiseclr")


def _changes(
    model: UNetModel,
    noised: Float[Tensor, "image channel y x"],
    timestep: int,
    site: str,
    added: Float[Tensor, "direction c h w"],
) -> Float[Tensor, "direction image d"]:
    """Every direction's change of the answer to every image, in one batch with unchanged images
    last.
    """
    count, images = len(added), len(noised)

    def hook(value: Tensor, call: Call) -> Tensor:
        pushed = value[:-images] + repeat(
            added, "direction c h w -> (direction image) c h w", image=images
        )
        return torch.cat([pushed, value[-images:]])

    every = repeat(noised, "image c y x -> (direction image) c y x", direction=count + 1)
    found = answer(model, every, timestep, {site: hook})
    found = rearrange(found, "(direction image) c y x -> direction image (c y x)", image=images)
    return found[:-1] - found[-1:]


def _unit(patterns: Float[Tensor, "direction c h w"]) -> Float[Tensor, "direction c h w"]:
    lengths = patterns.flatten(1).norm(dim=1)
    return patterns / rearrange(lengths, "direction -> direction 1 1 1")
