"""Translations drawn by hand: colour changed and the rest kept, the rest lost, nothing changed."""

import pytest
import torch

from interp.core import InputError
from interp.diffusion.scores.translation import translation_score
from interp.testbeds.images.shapes import ShapeRanges, read_shapes, shape_images

BLUE, RED = ShapeRanges(colour=(0.0, 0.2)), ShapeRanges(colour=(0.8, 1.0))


def test_the_same_shapes_in_another_colour_are_translations() -> None:
    blue, red, others = (
        shape_images(64, ranges=ranges, seed=seed).images
        for ranges, seed in ((BLUE, 1), (RED, 1), (RED, 2))
    )
    right = translation_score(blue, red, read_shapes, "colour", 0.75, 1.01)
    assert right.success.value == 1.0
    assert right.success.control == 0.0
    assert set(right.kept) == {"x", "y", "radius"}
    assert all(score.value > 0.999 for score in right.kept.values())
    assert all((score.control or 0) < 0 for score in right.kept.values()), (
        "dealt at random nothing is kept"
    )
    lost = translation_score(blue, others, read_shapes, "colour", 0.75, 1.01)
    assert lost.success.value == 1.0
    assert all(score.high < 0 for score in lost.kept.values()), (
        "other shapes of the colour asked for"
    )
    same = translation_score(blue, blue, read_shapes, "colour", 0.75, 1.01)
    assert same.success.value == 0.0


def test_what_cannot_be_judged_is_refused() -> None:
    blue = shape_images(16, ranges=BLUE).images
    with pytest.raises(InputError, match="give pairs"):
        translation_score(blue, blue[:4], read_shapes, "colour", 0.7, 1.0)
    with pytest.raises(InputError, match="hue"):
        translation_score(blue, blue, read_shapes, "hue", 0.7, 1.0)
    with pytest.raises(InputError, match="0 of 16 pairs"):
        translation_score(blue, torch.full_like(blue, -1), read_shapes, "colour", 0.7, 1.0)
