"""Circles with concept signals: what is drawn is what is read, and a concept without a signal is
refused with its reader's accuracy.
"""

import pytest
import torch

from interp.core import InputError
from interp.testbeds.images.concept_shapes import (
    BACKGROUND,
    HELD_OUT,
    ConceptSignals,
    concept_coordinates,
    concept_hits,
    concept_images,
    concept_readings,
    reader_accuracy,
    require_told_apart,
)

ALL = (0, 1, 2, 3)


def test_prompts_differ_by_the_signals() -> None:
    signals = ConceptSignals(colour=0.3, size=0.2)
    red_large, red_small, blue_large, blue_small = (signals.prompt(index) for index in ALL)
    assert (blue_large - red_large).tolist() == pytest.approx([-0.3, 0, 0.3, 0])
    assert (red_small - red_large).tolist() == pytest.approx([0, 0, 0, -0.2])
    assert torch.allclose(blue_small, blue_large + red_small - red_large), (
        "the held-out class is the parallelogram's fourth corner"
    )


def test_conditions_stay_within_the_jitter_and_fill_it() -> None:
    signals = ConceptSignals(colour=0.4, size=0.4)
    data = concept_images(signals, 500, classes=(HELD_OUT,), seed=1)
    off = (data.conditions - signals.prompt(HELD_OUT)).abs().amax(dim=0)
    assert off.tolist() == pytest.approx([0.05, 0.05, 0.05, 0.15], rel=0.02)
    assert torch.equal(
        concept_images(signals, 5, seed=3).images, concept_images(signals, 5, seed=3).images
    )


@pytest.mark.parametrize("colour", [0.1, 0.8])
def test_what_is_drawn_is_read(colour: float) -> None:
    signals = ConceptSignals(colour=colour)
    data = concept_images(signals, 200, classes=ALL)
    read = concept_readings(data.images, signals)
    # The same jitter of green moves the area by up to an eighth, the radius by half as much.
    assert (read["radius"] - data.conditions[:, 3]).abs().max() < 0.07
    # Jitter of green scales the coverage, by a ratio that is known.
    ratio = (BACKGROUND - 0.5 + colour / 2) / (BACKGROUND - data.conditions[:, 1])
    difference = (data.conditions[:, 0] - data.conditions[:, 2]) * ratio
    unclamped = ratio > 1
    assert torch.allclose(read["red_less_blue"][unclamped], difference[unclamped], rtol=0.02)


def test_classes_lie_at_the_corners() -> None:
    signals = ConceptSignals(colour=0.2)
    for index, corner in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        images = concept_images(signals, 300, classes=(index,)).images
        mean = concept_coordinates(images, signals).mean(dim=0)
        # Half of the jitter (uniform, up to 3/8 of the signal for size) is clipped: the mean is off
        # by 3/32 there.
        assert mean.tolist() == pytest.approx(corner, abs=0.13)
        assert concept_hits(images, signals, index).all()
        assert not concept_hits(images, signals, 3 - index).any()


def test_an_empty_image_is_neither() -> None:
    blank = torch.full((2, 3, 12, 12), 2 * BACKGROUND - 1)
    signals = ConceptSignals()
    assert all(values.isnan().all() for values in concept_readings(blank, signals).values())
    assert not any(concept_hits(blank, signals, index).any() for index in ALL)
    assert concept_coordinates(blank, signals).flatten().tolist() == [0.5] * 4


def test_readers_are_right_and_shuffled_classes_are_chance() -> None:
    for score in reader_accuracy(ConceptSignals(colour=0.1)).values():
        assert score.value == 1.0
        assert score.control == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("colour", "size", "name"), [(0.0, 0.4, "colour"), (0.2, 0.0, "size")])
def test_a_concept_without_a_signal_is_refused_with_its_accuracy(
    colour: float, size: float, name: str
) -> None:
    with pytest.raises(InputError, match=rf"^{name} is not told apart.*accuracy 0\.[45]"):
        require_told_apart(ConceptSignals(colour, size))
    with pytest.raises(InputError, match="signal of 0"):
        concept_coordinates(torch.zeros(1, 3, 12, 12), ConceptSignals(colour, size))


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match=r"colour signal is 0\.9"):
        ConceptSignals(colour=0.9)
    with pytest.raises(InputError, match="class 4 is unknown"):
        ConceptSignals().prompt(4)
    with pytest.raises(InputError, match="0 images"):
        concept_images(ConceptSignals(), 0)
