"""The pendulum's shadow is that of ray tracing, and every factor is read back from the image."""

import math

import numpy as np
import pytest
import torch

from interp.core import InputError
from interp.testbeds.images import pendulum
from interp.testbeds.images.pendulum import (
    PENDULUM_FACTORS,
    pendulum_images,
    read_pendulum,
    shadow_of,
)


@pytest.mark.parametrize(("light", "angle"), [(0.5, 0.0), (0.4, 0.5), (0.62, -0.3), (0.55, 0.4)])
def test_the_shadow_is_where_rays_meet_the_ball(light: float, angle: float) -> None:
    ground = np.linspace(-0.5, 1.5, 200_001)
    ball = np.array(
        [
            pendulum.PIVOT[0] + pendulum.ROD * math.sin(angle),
            pendulum.PIVOT[1] + pendulum.ROD * math.cos(angle),
        ]
    )
    ray = np.stack([ground - light, np.full_like(ground, pendulum.GROUND - pendulum.LIGHT_HEIGHT)])
    towards = ball - np.array([light, pendulum.LIGHT_HEIGHT])
    distance = np.abs(ray[0] * towards[1] - ray[1] * towards[0]) / np.hypot(*ray)
    dark = ground[distance < pendulum.BALL]
    middle, length = shadow_of(torch.tensor([light]), torch.tensor([angle]))
    assert float(middle) == pytest.approx((dark[0] + dark[-1]) / 2, abs=1e-4)
    assert float(length) == pytest.approx(dark[-1] - dark[0], abs=1e-4)


@pytest.mark.parametrize("size", [32, 48])
def test_every_factor_is_read_back(size: int) -> None:
    data = pendulum_images(300, size=size, seed=1)
    read = read_pendulum(data.images)
    for name in PENDULUM_FACTORS:
        assert np.corrcoef(read[name], data.factors[name])[0, 1] > 0.999, name
    assert torch.allclose(read["shadow"], data.factors["shadow"], atol=0.01)
    assert torch.allclose(read["length"], data.factors["length"], atol=0.01)
    assert abs(np.corrcoef(read["light"], data.factors["angle"])[0, 1]) < 0.2, (
        "control: causes are independent"
    )


def test_the_shadow_follows_both_causes() -> None:
    light = torch.tensor([0.4, 0.6])
    assert shadow_of(light, torch.zeros(2))[0].diff() < 0, (
        "a light to the right throws the shadow to the left"
    )
    assert shadow_of(torch.full((2,), 0.5), light)[0].diff() > 0


def test_what_is_missing_cannot_be_read() -> None:
    images = pendulum_images(2, seed=0).images.clone()
    images[0, 2] = -1
    assert bool(read_pendulum(images)["shadow"][0].isnan())
    assert not bool(read_pendulum(images)["shadow"][1].isnan())


def test_shadows_outside_the_image_are_refused() -> None:
    with pytest.raises(InputError, match="narrow the lights or angles"):
        pendulum_images(1, angles=(-1.2, 1.2))
    with pytest.raises(InputError, match="0 images"):
        pendulum_images(0)
