"""Shapes: the closed forms read back what was drawn, seeds decide everything, wrong ranges are
refused.
"""

from typing import Any

import numpy as np
import pytest
import torch

from interp.core import InputError
from interp.testbeds.images.shapes import (
    SHAPE_FACTORS,
    ShapeRanges,
    read_background,
    read_shapes,
    shape_images,
)


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(np.corrcoef(first.numpy(), second.numpy())[0, 1])


@pytest.mark.parametrize("kind", ["circle", "square", "triangle"])
@pytest.mark.parametrize("size", [16, 24])
def test_every_factor_is_read_back(kind: Any, size: int) -> None:
    data = shape_images(
        400, kind=kind, size=size, ranges=ShapeRanges(background=(0.0, 0.3)), seed=1
    )
    read = {**read_shapes(data.images), **read_background(data.images)}
    for name in (*SHAPE_FACTORS, "background"):
        assert correlation(read[name], data.factors[name]) > 0.999, name
    assert abs(correlation(read["x"], data.factors["y"])) < 0.15, (
        "control: the factors are independent"
    )


def test_lengths_are_read_in_pixels() -> None:
    data = shape_images(200, seed=2)
    read = read_shapes(data.images)
    for name in ("x", "y", "radius"):
        assert torch.allclose(read[name], data.factors[name], atol=0.05), name


def test_a_circle_in_the_middle_has_the_area_of_its_radius() -> None:
    ranges = ShapeRanges(centre=(0.5, 0.5), radius=(0.25, 0.25), colour=(1.0, 1.0))
    image = shape_images(1, size=32, ranges=ranges).images[0]
    covered = (image + 1) / 2
    assert float(covered[0].sum()) == pytest.approx(torch.pi * (8**2 + 1 / 12), rel=0.005)
    assert covered[1:].abs().max() == 0, "control: all of it is red"
    assert torch.equal(image, image.flip(1)), "control: it is in the middle"


def test_seeds_decide_and_leave_the_global_one_alone() -> None:
    before = torch.random.get_rng_state()
    first, same, other = shape_images(5, seed=3), shape_images(5, seed=3), shape_images(5, seed=4)
    assert torch.equal(first.images, same.images)
    assert not torch.equal(first.images, other.images)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_empty_image_has_no_factor() -> None:
    read = read_shapes(torch.full((1, 3, 16, 16), -1.0))
    assert all(bool(value.isnan()) for value in read.values())


def test_haze_does_not_move_the_factors() -> None:
    data = shape_images(50, seed=5)
    hazy = read_shapes(
        data.images
        + 0.04 * torch.rand(data.images.shape, generator=torch.Generator().manual_seed(0))
    )
    for name in ("x", "y", "radius"):
        assert torch.allclose(hazy[name], data.factors[name], atol=0.15), name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shape_images(0), "0 images"),
        (lambda: shape_images(1, size=4), "4 × 4 pixels"),
        (lambda: ShapeRanges(radius=(0.4, 0.2)), "radius is drawn from 0.4 to 0.2"),
        (lambda: ShapeRanges(background=(0.0, 0.9)), "background is drawn from 0.0 to 0.9"),
    ],
)
def test_wrong_arguments_get_one_line(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
