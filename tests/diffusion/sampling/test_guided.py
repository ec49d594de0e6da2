"""Guidance: its equation written out, its ends, one half heard at a time, and the same weights in
both.
"""

import pytest
import torch
from small_generator import SETTINGS, by_hand, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.bottleneck.interchange import interchange
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.edits.straight import Edit, sample_edited
from interp.diffusion.records.activations import record_steps
from interp.diffusion.sampling.ddim import sample
from interp.diffusion.sampling.guided import Half, guided
from interp.models import NoisedImages, UNetModel
from interp.testbeds.generators.network import GeneratorSettings

STEPS = 3
LABELS = torch.tensor([0, 2])
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
NOTHING = torch.tensor([3, 3])


def shifts(model: UNetModel) -> StepDirections:
    acts = record_steps(model, 2, seed=5, steps=STEPS, labels=LABELS)
    drawn = torch.randn(1, *acts.values.shape[1:], generator=torch.Generator().manual_seed(3))
    return directions_like(acts, drawn, ("d",), "by hand")


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("half", ["conditional", "unconditional"])
def test_the_answer_is_the_equation(scale: float, half: Half) -> None:
    model = untrained(classes=3)
    told, silent = (
        model.module(IMAGES, 500, class_labels=labels).sample for labels in (LABELS, NOTHING)
    )
    found = guided(model, scale, half=half).module(IMAGES, 500, class_labels=LABELS).sample
    assert torch.allclose(found, silent + scale * (told - silent), atol=1e-5)
    assert not torch.allclose(told, silent, atol=1e-3), "control: labels matter"


def test_the_ends_are_the_two_networks() -> None:
    model = untrained(classes=3)
    one, none = (
        sample(guided(model, scale), 2, seed=0, steps=STEPS, labels=LABELS) for scale in (1.0, 0.0)
    )
    assert torch.allclose(one, sample(model, 2, seed=0, steps=STEPS, labels=LABELS), atol=1e-5)
    assert torch.allclose(none, sample(model, 2, seed=0, steps=STEPS, labels=NOTHING), atol=1e-5)


@pytest.mark.parametrize(("half", "weightless"), [("conditional", 0.0), ("unconditional", 1.0)])
def test_one_half_is_changed_the_other_is_not(half: Half, weightless: float) -> None:
    model = untrained(classes=3)
    edit = Edit(shifts(model), (3.0,))
    for scale, reaches in ((weightless, False), (2.0, True)):
        half_heard = guided(model, scale, half=half)
        plain = sample(half_heard, 2, seed=0, steps=STEPS, labels=LABELS)
        made = sample_edited(half_heard, 2, edit, seed=0, steps=STEPS, labels=LABELS)
        assert (float((made - plain).abs().max()) > 1e-3) == reaches


def test_one_value_per_image_is_recorded_of_the_half_that_is_heard() -> None:
    model = untrained(classes=3)
    held: dict[str, Tensor] = {}
    for half, labels in (("conditional", LABELS), ("unconditional", NOTHING)):
        acts = record_steps(guided(model, 1.0, half=half), 2, seed=0, steps=1, labels=LABELS)
        assert acts.values.shape == (2, 1, 8, 2, 2)
        wanted = record_steps(model, 2, seed=0, steps=1, labels=labels)
        assert torch.allclose(acts.values, wanted.values, atol=1e-5)
        held[half] = acts.values
    assert not torch.allclose(held["conditional"], held["unconditional"], atol=1e-4)


def test_vectors_are_guided_against_zero() -> None:
    model = untrained(width=2)
    labels = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    found = sample(guided(model, 0.0), 2, seed=0, steps=STEPS, labels=labels)
    assert torch.allclose(
        found, sample(model, 2, seed=0, steps=STEPS, labels=torch.zeros(2, 2)), atol=1e-5
    )


def test_both_halves_have_the_same_weights_and_removed_skips() -> None:
    settings = GeneratorSettings(channels=SETTINGS.channels, groups=2, removed_skips=2)
    model = untrained(settings, classes=3)
    pair = guided(model, 2.0).module
    for one, other in zip(
        pair.conditional.parameters(), pair.unconditional.parameters(), strict=True
    ):
        assert one is other
    before = sample(guided(model, 0.0), 2, seed=0, steps=STEPS, labels=LABELS)
    assert torch.allclose(before, sample(model, 2, seed=0, steps=STEPS, labels=NOTHING), atol=1e-5)


def test_interchange_of_a_guided_network_with_itself_changes_nothing() -> None:
    found = interchange(
        guided(untrained(classes=3), 2.0),
        lambda images: {"mean": images.mean(dim=(1, 2, 3))},
        pairs=8,
        seed=0,
        steps=STEPS,
        labels=torch.arange(8) % 3,
    )
    assert found.unchanged < 1e-5


def test_wrong_arguments_get_one_line() -> None:
    with pytest.raises(InputError, match="has no unconditional answer of its own; give `against`"):
        guided(untrained(), 2.0)
    with pytest.raises(InputError, match="guidance scale is nan"):
        guided(untrained(classes=3), float("nan"))
    with pytest.raises(InputError, match="guide by a network of the same images"):
        guided(untrained(classes=3), 2.0, against=untrained(channels=1))
    weak = guided(untrained(), 2.0, against=by_hand())
    assert weak.run(NoisedImages(IMAGES, 500)).shape == IMAGES.shape
