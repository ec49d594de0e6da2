"""Strokes: lengths, slant and ink of drawn bars are read back; readers that do not fit are
refused.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from interp.core import InputError
from interp.diffusion.images.factors import factor_table, read_strokes


def bar(slant: float = 0.0, thickness: float = 3.0, height: float = 16.0) -> Tensor:
    """A soft bar in the middle of 32 × 32, its top leaning right by `slant` pixels per pixel."""
    places = torch.arange(32) - 15.5
    lean = (places[None] + slant * places[:, None]).abs() / math.hypot(1, slant)
    inside = (thickness / 2 - lean + 0.5).clamp(0, 1) * (
        height / 2 - places.abs()[:, None] + 0.5
    ).clamp(0, 1)
    return (2 * inside - 1)[None, None]


@pytest.mark.parametrize("slant", [-0.4, 0.0, 0.3])
def test_slant_and_height(slant: float) -> None:
    read = read_strokes(bar(slant))
    assert float(read["slant"]) == pytest.approx(slant, abs=0.03)
    # Of a bar of evenly spread ink the sd is height / √12.
    assert float(read["height"]) == pytest.approx(4 * 16 / math.sqrt(12), rel=0.03)


def test_thickness_and_ink() -> None:
    thin, thick = (
        read_strokes(bar(thickness=2.0, height=24)),
        read_strokes(bar(thickness=4.0, height=24)),
    )
    assert float(thick["ink"]) == pytest.approx(4 * 24 / 32**2, rel=0.02)
    assert float(thick["ink"] / thin["ink"]) == pytest.approx(2.0, rel=0.02)
    # A bar's outline is 2 (height + thickness), so the closed form is a little less than the
    # thickness.
    assert float(thick["thickness"]) == pytest.approx(4 * 24 / (4 + 24), rel=0.05)
    assert float(thin["thickness"]) == pytest.approx(2 * 24 / (2 + 24), rel=0.05)
    assert float(thick["height"]) == pytest.approx(float(thin["height"]), rel=1e-3), "control"


def test_a_blank_image_has_no_stroke() -> None:
    assert all(
        bool(value.isnan()) for value in read_strokes(torch.full((1, 1, 28, 28), -1.0)).values()
    )


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (lambda images: {}, "names no factor"),
        (lambda images: {"x": torch.zeros(2)}, r"gave \(2,\) values of 'x' for 3"),
    ],
)
def test_readers_that_do_not_fit_are_refused(reader: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        factor_table(reader, torch.zeros(3, 1, 4, 4))
