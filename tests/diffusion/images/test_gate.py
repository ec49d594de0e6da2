"""The gate passes the data's own images, and names each fault that is planted in them."""

import pytest
import torch
from torch import Tensor

from interp.core import InputError
from interp.diffusion.images.gate import sanity_gate
from interp.testbeds.images.shapes import ShapeRanges, read_background, read_shapes, shape_images

DATA = shape_images(1500, seed=0).images


def fresh(**ranges: tuple[float, float]) -> Tensor:
    return shape_images(400, seed=1, ranges=ShapeRanges(**ranges)).images


def test_fresh_images_of_the_same_kind_pass() -> None:
    gate = sanity_gate(fresh(), DATA, read_shapes)
    assert gate.passed, str(gate)
    assert set(gate.factors) == {"x", "y", "radius", "colour"}
    for factor in gate.factors.values():
        assert factor.mean.low < 0.05, "the interval holds 0 or nearly"
        assert factor.mean.high > -0.05
        assert factor.p > 0.001


def test_numbers_are_those_of_the_definition() -> None:
    # The radius is drawn from 2 to 4.48 pixels; its upper half has mean +½ of the half range, sd ½.
    gate = sanity_gate(fresh(radius=(0.2025, 0.28)), DATA, read_shapes).factors["radius"]
    assert gate.mean.value == pytest.approx(3**0.5 / 2, abs=0.06)
    assert gate.sd.value == pytest.approx(0.5, abs=0.04)
    assert gate.ks == pytest.approx(0.5, abs=0.05)
    assert gate.p < 1e-6
    assert gate.mean.low < gate.mean.value < gate.mean.high
    assert abs(gate.mean.control or 1) < 0.15


@pytest.mark.parametrize(
    ("ranges", "named"),
    [
        ({"radius": (0.17, 0.28)}, "radius: mean"),
        ({"centre": (0.4, 0.6)}, "x: sd"),
        ({"colour": (0.4, 0.6)}, "colour: sd"),
    ],
)
def test_a_planted_fault_is_named(ranges: dict[str, tuple[float, float]], named: str) -> None:
    gate = sanity_gate(fresh(**ranges), DATA, read_shapes)
    assert not gate.passed
    assert any(failure.startswith(named) for failure in gate.failures)
    assert named.split(":")[0] in str(gate)


def test_overshoot_and_missing_shapes_are_named() -> None:
    images = fresh()
    overshooting = torch.where(torch.arange(16) == 0, images - 0.1, images)
    assert any(
        "off-range pixels: 6" in failure
        for failure in sanity_gate(overshooting, DATA, read_shapes).failures
    )
    assert sanity_gate(images - 0.04, DATA, read_shapes).off_range == 0, (
        "control: a little haze is none"
    )
    images = images.clone()
    images[:20] = -1
    assert any(
        "without a readable factor: 5.0%" in failure
        for failure in sanity_gate(images, DATA, read_shapes).failures
    )
    assert not sanity_gate(torch.full_like(images, -1.0), DATA, read_shapes).passed


def test_wrong_arguments_get_one_line() -> None:
    with pytest.raises(InputError, match="the data's"):
        sanity_gate(fresh()[:, :, :8], DATA, read_shapes)
    with pytest.raises(InputError, match="at least 8"):
        sanity_gate(fresh()[:3], DATA, read_shapes)
    with pytest.raises(InputError, match="none of background varies"):
        sanity_gate(fresh(), DATA, read_background)
