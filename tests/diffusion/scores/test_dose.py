"""Dose-response and smoothness where both are known."""

import numpy as np
import pytest
import torch
from small_generator import brightness, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.images.smoothness import interpolation_smoothness, spherical
from interp.diffusion.scores.dose import dose_response
from interp.diffusion.scores.effects import Judge, fresh_trial
from interp.models import UNetModel


class Shown(torch.nn.Module):
    """A clean image that is its noisy one by way of the bottleneck, squashed if asked."""

    def __init__(self, module: torch.nn.Module, squash: float) -> None:
        super().__init__()
        self.down_blocks, self.up_blocks = torch.nn.ModuleList(), torch.nn.ModuleList()
        self.mid_block, self.squash = torch.nn.Identity(), squash
        self.config, self.device, self.dtype = module.config, module.device, module.dtype

    def forward(self, images: Tensor, timestep: Tensor) -> object:
        from diffusers.models.unets.unet_2d import UNet2DOutput

        return UNet2DOutput(
            sample=self.mid_block(torch.tanh(self.squash * images) if self.squash else images)
        )


def by_hand(squash: float = 0.0) -> UNetModel:
    model = untrained()
    return UNetModel(Shown(model.module, squash), model.scheduler)


def everywhere(model: UNetModel) -> StepDirections:
    return StepDirections(
        values=torch.ones(1, 1, 3, 8, 8),
        names=("mean",),
        steps=(0,),
        timesteps=(999,),
        site="mid",
        total=1,
        method="by hand",
        seed=0,
    )


def test_more_is_more_and_by_how_much() -> None:
    trial = fresh_trial(
        by_hand(), Judge(brightness, {"mean": 0.5, "lean": 0.5}), 10, seed=0, steps=1
    )
    found = dose_response(trial, everywhere(trial.model), "mean", (-0.2, -0.1, 0.0, 0.1))
    assert [score.value for score in found.changes] == pytest.approx(
        [-0.4, -0.2, 0.0, 0.2], abs=1e-5
    )
    assert found.monotone.value == 1.0
    assert abs(found.changes[0].control or 0) < 0.2, "a random direction does less"
    assert found.kept[2].value == 1.0
    whole = float(
        ((trial.images - trial.images.mean(dim=0)).square().flatten(1).sum(dim=1) ** -1).mean()
    )
    assert found.kept[3].value == pytest.approx(1 - 0.01 * 3 * 64 * whole, rel=1e-4)
    back = dose_response(trial, everywhere(trial.model), "lean", (-0.2, -0.1, 0.1))
    assert abs(back.changes[0].value) < 1e-5, "another factor stays"
    with pytest.raises(InputError, match="three or more rising"):
        dose_response(trial, everywhere(trial.model), "mean", (0.1, -0.1, 0.2))


def test_even_angles_are_even_steps_of_an_even_generator() -> None:
    straight, bent = (
        interpolation_smoothness(by_hand(), 4, steps=1),
        interpolation_smoothness(by_hand(5.0), 4, steps=1),
    )
    assert straight.variation.value < 0.02
    assert straight.step.value > 100
    assert bent.variation.value > 2 * straight.variation.value
    assert bent.istd.n == 4
    with pytest.raises(InputError, match="at least 1 pair"):
        interpolation_smoothness(by_hand(), 0)


def test_points_on_the_sphere() -> None:
    a, b = torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)
    a[..., 0], b[..., 1] = 1.0, 1.0
    path = spherical(a, b, 4)
    assert torch.allclose(path.flatten(1).norm(dim=1), torch.ones(4), atol=1e-6)
    assert path[1].flatten().tolist() == pytest.approx(
        [np.cos(np.pi / 6), np.sin(np.pi / 6)], abs=1e-6
    )
    assert torch.allclose(spherical(a, 2 * a, 3)[1], 1.5 * a)
