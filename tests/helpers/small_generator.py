"""A generator of seconds: 3 levels on images of 8 × 8, untrained or trained for a moment."""

from typing import Any

import torch
from torch import Tensor

from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.records.activations import record_steps
from interp.models import UNetModel
from interp.testbeds.generators.network import GeneratorSettings, build_network, build_scheduler

SETTINGS = GeneratorSettings(
    channels=(4, 8, 8), groups=2, steps=6, batch_size=4, warm_up=2, checkpoint_every=2, seed=1
)


def untrained(
    settings: GeneratorSettings = SETTINGS,
    channels: int = 3,
    classes: int | None = None,
    width: int | None = None,
) -> UNetModel:
    """A network as training finds it, evaluating."""
    module: Any = build_network(settings, (channels, 8, 8), classes, width)
    return UNetModel(module.eval(), build_scheduler(settings))


def brightness(images: Tensor) -> dict[str, Tensor]:
    """Two factors that any image has: its mean, and right less left."""
    half = images.shape[3] // 2
    return {
        "mean": images.mean(dim=(1, 2, 3)),
        "lean": images[..., half:].mean(dim=(1, 2, 3)) - images[..., :half].mean(dim=(1, 2, 3)),
    }


def pictures(count: int = 12, seed: int = 0) -> Tensor:
    """Random images from −1 to 1."""
    return 2 * torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) - 1


class Through(torch.nn.Module):
    """A clean image that is a tenth of its input by way of the bottleneck: an edit of `d` there
    adds `d` to the last step's image.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.down_blocks, self.up_blocks = torch.nn.ModuleList(), torch.nn.ModuleList()
        self.mid_block = torch.nn.Identity()
        self.config, self.device, self.dtype = module.config, module.device, module.dtype

    def forward(self, images: Tensor, timestep: Tensor) -> object:
        from diffusers.models.unets.unet_2d import UNet2DOutput

        return UNet2DOutput(sample=self.mid_block(0.1 * images))


def by_hand() -> UNetModel:
    model = untrained()
    return UNetModel(Through(model.module), model.scheduler)


def brighter(model: UNetModel, steps: int = 3) -> StepDirections:
    """`mean` adds 1 to every pixel of the last image, `lean` 1 to the right half and −1 to the
    left.
    """
    acts = record_steps(model, 2, seed=9, steps=steps)
    values = torch.zeros(2, *acts.values.shape[1:])
    values[0, -1] = 1.0
    values[1, -1, :, :, 4:], values[1, -1, :, :, :4] = 1.0, -1.0
    return directions_like(acts, values, ("mean", "lean"), "by hand")
