"""Both halves of guidance at once: the ends of the scale, each reach against the equation, and what
is recorded of each pass.
"""

from functools import partial

import pytest
import torch
from small_generator import untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.edits.straight import (
    Edit,
    Rule,
    answer,
    edited_step,
    sample_edited,
    start_noise,
)
from interp.diffusion.records.activations import record_steps
from interp.diffusion.records.guidance_halves import Reach, record_halves, sample_guided
from interp.diffusion.sampling.ddim import image_seeds, sample, timesteps
from interp.diffusion.sampling.guided import Half, guided
from interp.diffusion.sampling.labels import labelled, no_label
from interp.diffusion.sampling.levels import ddim
from interp.models import Call, NoisedImages, UNetModel

STEPS = 3
LABELS = torch.tensor([0, 2])
NOTHING = torch.tensor([3, 3])
REACHES: tuple[Reach, ...] = ("both", "conditional", "unconditional", "difference")
SIGNS: dict[Reach, tuple[int, int]] = {
    "both": (1, 1),
    "conditional": (1, 0),
    "unconditional": (0, 1),
    "difference": (1, -1),
}
"""Of the conditional pass and the unconditional."""


def shifts(model: UNetModel) -> StepDirections:
    acts = record_steps(model, 2, seed=5, steps=STEPS, labels=LABELS)
    drawn = torch.randn(1, *acts.values.shape[1:], generator=torch.Generator().manual_seed(3))
    return directions_like(acts, drawn, ("d",), "by hand")


def added(change: Tensor, value: Tensor, call: Call) -> Tensor:
    return value + change


def edit_of(
    model: UNetModel, rule: Rule = "asymmetric", window: range | None = None, strength: float = 3.0
) -> Edit:
    return Edit(shifts(model), (strength,), rule, window)


@pytest.mark.parametrize("half", ["conditional", "unconditional"])
@pytest.mark.parametrize("kind", ["classes", "vectors"])
def test_scale_one_is_conditional_and_nought_unconditional_sampling(kind: str, half: Half) -> None:
    model, told, nothing = conditioned(kind)
    for scale, labels in ((1.0, told), (0.0, nothing)):
        found = sample_guided(
            guided(model, scale, half=half), 2, None, seed=0, steps=STEPS, labels=told
        )
        assert torch.allclose(
            found, sample(model, 2, seed=0, steps=STEPS, labels=labels), rtol=0, atol=1e-6
        )
    with_label, without = (
        sample(model, 2, seed=0, steps=STEPS, labels=labels) for labels in (told, nothing)
    )
    assert not torch.allclose(with_label, without, atol=1e-2), "control: labels matter"


def conditioned(kind: str) -> tuple[UNetModel, Tensor, Tensor]:
    """A network in double precision, two labels, and the labels that say nothing."""
    model = untrained(classes=3) if kind == "classes" else untrained(width=2)
    model.module.double()
    return (
        (model, LABELS, NOTHING)
        if kind == "classes"
        else (model, torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.zeros(2, 2))
    )


@torch.no_grad()
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("kind", ["classes", "vectors"])
def test_two_passes_are_one_batch_of_both_halves(kind: str, reach: Reach) -> None:
    model, told, nothing = conditioned(kind)
    acts = record_steps(model, 2, seed=5, steps=STEPS, labels=told)
    drawn = torch.randn(
        1, *acts.values.shape[1:], generator=torch.Generator().manual_seed(3), dtype=torch.double
    )
    edit = Edit(directions_like(acts, drawn, ("d",), "by hand"), (3.0,))
    weights = torch.tensor(SIGNS[reach]).flip(0).repeat_interleave(2)[:, None, None, None]
    scheduler, levels = ddim(model, STEPS)
    images = start_noise(model, image_seeds(2, 0))
    with labelled(model.module, torch.cat([nothing, told])):
        for step, time in enumerate(levels.timesteps):
            twice, change = torch.cat([images, images]), 3.0 * weights * drawn[0, step]
            halves = [
                answer(model, twice, time),
                answer(model, twice, time, {"mid": partial(added, change)}),
            ]
            plain, edited = (both[:2] + 2.5 * (both[2:] - both[:2]) for both in halves)
            images = edited_step(scheduler, levels, step, images, plain, edited, rule="asymmetric")
    found = sample_guided(
        guided(model, 2.5), 2, edit, reach=reach, seed=0, steps=STEPS, labels=told
    )
    assert torch.allclose(found, images, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("half", ["conditional", "unconditional"])
def test_where_one_half_has_no_say_the_other_is_edited_plainly(half: Half, rule: Rule) -> None:
    model = untrained(classes=3)
    edit = edit_of(model, rule)
    one, none = (guided(model, scale, half=half) for scale in (1.0, 0.0))
    wanted = sample_edited(model, 2, edit, seed=0, steps=STEPS, labels=LABELS)
    for reach in REACHES[:2] + REACHES[3:]:
        assert torch.allclose(
            sample_guided(one, 2, edit, reach=reach, seed=0, steps=STEPS, labels=LABELS),
            wanted,
            atol=1e-5,
        )
    plain = sample(model, 2, seed=0, steps=STEPS, labels=LABELS)
    assert torch.allclose(
        sample_guided(one, 2, edit, reach="unconditional", seed=0, steps=STEPS, labels=LABELS),
        plain,
        atol=1e-5,
    )
    silent = sample_edited(model, 2, edit, seed=0, steps=STEPS, labels=NOTHING)
    for reach in REACHES[::2]:
        assert torch.allclose(
            sample_guided(none, 2, edit, reach=reach, seed=0, steps=STEPS, labels=LABELS),
            silent,
            atol=1e-5,
        )
    assert not torch.allclose(wanted, plain, atol=1e-3), "control: the edit changes something"


@torch.no_grad()
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("half", ["conditional", "unconditional"])
def test_a_reach_is_its_equation(reach: Reach, half: Half) -> None:
    model, scale = untrained(classes=3), 2.5
    edit = edit_of(model, "symmetric", range(STEPS - 1, STEPS))
    change = edit.directions.values[0, -1] * 3.0
    pair = guided(model, scale, half=half)
    signs = SIGNS[reach]
    seen: list[Tensor] = []
    handle = pair.module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    found = sample_guided(pair, 2, edit, reach=reach, seed=0, steps=STEPS, labels=LABELS)
    handle.remove()
    last, both = NoisedImages(seen[-1], timesteps(model, STEPS)[-1]), []
    for sign, labels in zip(signs, (LABELS, no_label(model.module, 2)), strict=True):
        with labelled(model.module, labels):
            both.append(model.run(last, {"mid": partial(added, sign * change)}))
    told, silent = both
    assert told is not None
    assert silent is not None
    assert torch.allclose(found, silent + scale * (told - silent), atol=1e-4), (
        "the last answer of a network of clean images is the image"
    )


def test_reaches_add_up_for_small_changes() -> None:
    model, scale = untrained(classes=3), 2.5
    pair, edit = guided(model, scale), edit_of(model, window=range(STEPS - 1, STEPS), strength=0.01)
    plain = sample_guided(pair, 2, None, seed=0, steps=STEPS, labels=LABELS)
    both, told, silent, apart = (
        sample_guided(pair, 2, edit, reach=reach, seed=0, steps=STEPS, labels=LABELS).double()
        - plain.double()
        for reach in REACHES
    )
    assert float((both - told - silent).norm() / both.norm()) < 1e-3
    assert float((apart - told + silent).norm() / apart.norm()) < 0.03
    assert float(both.norm()) > 0


@pytest.mark.parametrize("half", ["conditional", "unconditional"])
@pytest.mark.parametrize("batch_size", [1, 64])
def test_each_pass_is_recorded_as_its_own(half: Half, batch_size: int) -> None:
    model = untrained(classes=3)
    pair = guided(model, 2.0, half=half)
    found = record_halves(
        pair, 2, seed=0, steps=STEPS, window=range(1, STEPS), labels=LABELS, batch_size=batch_size
    )
    for name in ("conditional", "unconditional"):
        heard = guided(model, 2.0, half=name)
        wanted = record_steps(heard, 2, seed=0, steps=STEPS, window=range(1, STEPS), labels=LABELS)
        acts = getattr(found, name)
        assert (acts.steps, acts.timesteps, acts.site) == (wanted.steps, wanted.timesteps, "mid")
        assert torch.allclose(acts.values, wanted.values, atol=1e-5)
        assert torch.allclose(acts.images, wanted.images, atol=1e-5)
    assert not torch.allclose(found.conditional.values, found.unconditional.values, atol=1e-4)


def test_no_hook_is_left_behind() -> None:
    model = untrained(classes=3)
    pair = guided(model, 2.0)
    sample_guided(pair, 2, edit_of(model), reach="difference", seed=0, steps=STEPS, labels=LABELS)
    record_halves(pair, 2, seed=0, steps=STEPS, labels=LABELS)
    assert all(
        not part._forward_hooks and not part._forward_pre_hooks for part in pair.module.modules()
    )


def test_wrong_arguments_get_one_line() -> None:
    model = untrained(classes=3)
    pair, edit = guided(model, 2.0), edit_of(model)
    with pytest.raises(InputError, match=r"is not guided; give guided\(model, scale\)"):
        record_halves(model, 2, seed=0, steps=STEPS, labels=LABELS)
    with pytest.raises(InputError, match="is not guided"):
        sample_guided(model, 2, edit, seed=0, steps=STEPS, labels=LABELS)
    with pytest.raises(InputError, match="the directions were found with 3 steps"):
        sample_guided(pair, 2, edit, seed=0, steps=4, labels=LABELS)
    with pytest.raises(InputError, match="this network needs labels"):
        sample_guided(pair, 2, edit, seed=0, steps=STEPS)
    with pytest.raises(InputError, match="batch_size is 0"):
        sample_guided(pair, 2, None, seed=0, steps=STEPS, labels=LABELS, batch_size=0)
