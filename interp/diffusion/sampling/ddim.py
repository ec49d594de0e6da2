"""Images from a generator: deterministic DDIM by diffusers' scheduler, one seed per image."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.diffusion.sampling.labels import Labels, checked_labels, labelled
from interp.models import Hook, SamplingPlan, UNetModel

STEPS = 20
BATCH = 64
SEEDS_APART = 1_000_000
"""The most images of one seed; the next seed's are different."""


def image_seeds(count: int, seed: int) -> tuple[int, ...]:
    """The seeds of `count` images: no two seeds share an image.

    Raises:
        InputError: no images or more than a seed has, or a seed beyond those that torch tells
            apart.
    """
    most = 2**32 // SEEDS_APART - 1
    if not 0 <= seed <= most:
        # Torch's generator uses the lower 32 bits only: later seeds would repeat earlier images.
        raise InputError(f"seed is {seed}; give 0 to {most}")
    if not 0 < count <= SEEDS_APART:
        raise InputError(f"{count} images were asked for; give 1 to {SEEDS_APART}")
    return tuple(range(seed * SEEDS_APART, seed * SEEDS_APART + count))


@dataclass(frozen=True)
class Batch:
    """Images sampled at once: their rows among all, and the seed and label of each."""

    rows: slice
    seeds: tuple[int, ...]
    labels: Labels | None


def batches(count: int, seed: int, labels: Labels | None, size: int) -> Iterator[Batch]:
    """The images of a seed, batch by batch.

    Raises:
        InputError: labels and images differ in number, or a number is out of range.
    """
    checked_labels(labels, count)
    if size < 1:
        raise InputError(f"batch_size is {size}; give at least 1")
    seeds = image_seeds(count, seed)
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        yield Batch(rows, seeds[rows], None if labels is None else labels[rows])


def unclipped(model: UNetModel) -> UNetModel:
    """The model with a scheduler that does not clip predictions, which would hide what an edit
    does; warns if it did.

    Raises:
        InputError: the model has no scheduler (the default one clips, and need not be that of its
            training).
    """
    scheduler = _scheduler(model)
    if not getattr(scheduler.config, "clip_sample", False):
        return model
    warnings.warn(
        f"the scheduler of {model.name} clips predictions (clip_sample=True); it is turned off "
        "here",
        stacklevel=3,
    )
    open_ended = type(scheduler).from_config(scheduler.config, clip_sample=False)
    return UNetModel(model.module, open_ended, name=model.name, weight_hash=model.weight_hash)


@torch.no_grad()
def sample(
    model: UNetModel,
    count: int,
    *,
    seed: int,
    steps: int = STEPS,
    labels: Labels | None = None,
    hooks: Mapping[str, Hook] = {},
    batch_size: int = BATCH,
    progress: Progress = silent,
) -> Float[Tensor, "image channel y x"]:
    """Generate images, each from its own noise (DDIM, eta 0; Song, Meng & Ermon 2021), with the
    network's own step spacing.

    `hooks` read or change sites; `call.step` counts sampling steps from the noise on. Up to
    rounding, a seed's image does not depend on its batch.

    Raises:
        InputError: a site, labels or number that does not fit.

    Cost: `count × steps` evaluations of the UNet.

    Example:
        >>> images = sample(model, 64, seed=0)
    """
    model = unclipped(model)
    parts = []
    for batch in batches(count, seed, labels, batch_size):
        parts.append(sample_batch(model, batch, steps, hooks))
        progress("sample", batch.rows.stop, count, "image")
    return torch.cat(parts)


@torch.no_grad()
def sample_batch(
    model: UNetModel, batch: Batch, steps: int, hooks: Mapping[str, Hook]
) -> Float[Tensor, "image channel y x"]:
    """The images of one batch, with hooks in place."""
    with labelled(model.module, batch.labels):
        images = model.run(SamplingPlan(batch.seeds, steps), hooks)
    assert images is not None
    return images


def timesteps(model: UNetModel, steps: int = STEPS) -> tuple[int, ...]:
    """The network's timestep at every sampling step.

    Raises:
        InputError: the model has no scheduler.
    """
    scheduler = _scheduler(model)
    fresh = type(scheduler).from_config(scheduler.config)
    fresh.set_timesteps(steps)
    return tuple(int(t) for t in fresh.timesteps)


def _scheduler(model: UNetModel) -> Any:
    if model.scheduler is None:
        raise InputError(
            f"{model.name} has no scheduler, so how it is sampled is unknown; give one: "
            "UNetModel(module, scheduler)"
        )
    return model.scheduler
