"""A generator of seconds: 3 levels on images of 8 × 8, untrained or trained for a moment."""

from typing import Any

import torch
from torch import Tensor

from interp.diffusion.network import GeneratorSettings, build_network, build_scheduler
from interp.models import UNetModel

SETTINGS = GeneratorSettings(channels=(4, 8, 8), groups=2, steps=6, batch_size=4, warm_up=2, checkpoint_every=2, seed=1)


def untrained(settings: GeneratorSettings = SETTINGS, channels: int = 3, classes: int | None = None, width: int | None = None) -> UNetModel:
    """A network as training finds it, evaluating."""
    module: Any = build_network(settings, (channels, 8, 8), classes, width)
    return UNetModel(module.eval(), build_scheduler(settings))


def brightness(images: Tensor) -> dict[str, Tensor]:
    """Two factors that any image has: its mean, and right less left."""
    half = images.shape[3] // 2
    return {"mean": images.mean(dim=(1, 2, 3)), "lean": images[..., half:].mean(dim=(1, 2, 3)) - images[..., :half].mean(dim=(1, 2, 3))}


def pictures(count: int = 12, seed: int = 0) -> Tensor:
    """Random images from −1 to 1."""
    return 2 * torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) - 1
