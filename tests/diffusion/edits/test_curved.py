"""Curved edits on planted codes: the polynomial is found, images are moved along it, straight
curves are regression; strengths decouple.
"""

from dataclasses import replace

import pytest
import torch
from small_generator import brighter, brightness, by_hand, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.regression import regression_directions
from interp.diffusion.edits.curved import CurvedEdit, fit_curves
from interp.diffusion.edits.straight import Edit, edit_hooks, sample_edited
from interp.diffusion.records.activations import StepActivations
from interp.diffusion.scores.decoupling import decoupled_strengths
from interp.diffusion.scores.effects import Judge, fresh_trial
from interp.models import Call

STEPS, WIDE = 3, 12


def planted(degree: int, count: int = 200) -> tuple[StepActivations, dict[str, Tensor], Tensor]:
    """A site of 12 numbers that bends with two factors: the first four hold them plainly, the
    others products of up to `degree`.
    """
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(count, 2, generator=generator, dtype=torch.double) * 4 - 2
    mixing = torch.randn(2, WIDE, generator=generator, dtype=torch.double)
    bend = torch.randn(2, WIDE, generator=generator, dtype=torch.double) * torch.cat(
        [torch.zeros(4), torch.ones(WIDE - 4)]
    )
    held = factors @ mixing + (factors**degree) @ bend * float(degree > 1)
    values = torch.stack([held * (1 + step) for step in range(STEPS)], dim=1).reshape(
        count, STEPS, 3, 2, 2
    )
    acts = StepActivations(
        values=values,
        steps=(0, 1, 2),
        timesteps=(900, 500, 100),
        images=torch.zeros(count, 1, 2, 2),
        site="mid",
        total=STEPS,
        seed=0,
    )
    return acts, {"a": factors[:, 0], "b": factors[:, 1]}, factors


@pytest.mark.parametrize("degree", [2, 3])
def test_a_planted_polynomial_is_found_and_followed(degree: int) -> None:
    acts, labels, factors = planted(degree)
    curves = fit_curves(acts, labels, degree=degree, ridge=1e-9)
    assert torch.allclose(curves.explained, torch.ones(STEPS, dtype=torch.double), atol=1e-6)
    spread = factors.std(dim=0)
    units = (factors - factors.mean(dim=0)) / spread
    flat = acts.values.flatten(2)
    # Reading is linear, and here a linear reading exists: powers are held apart from the factors
    # themselves.
    assert torch.allclose(curves.read(flat[:, 1], 1), units, atol=1e-2)
    shift = torch.tensor([0.3, 0.0], dtype=torch.double)
    moved = flat[:, 1] + curves.change(flat[:, 1], 1, shift)
    inside = units[:, 0] < 1
    assert torch.allclose(curves.read(moved, 1)[inside, 0], units[inside, 0] + 0.3, atol=2e-2)
    straight = fit_curves(acts, labels, degree=1)
    assert float(straight.explained.max()) < 0.99, (
        "control: a straight line does not explain a bent code"
    )


def test_straight_curves_are_regression() -> None:
    acts, labels, _ = planted(1)
    curves = fit_curves(acts, labels, degree=1)
    rows = regression_directions(acts, labels).values.flatten(2)
    change = curves.change(
        acts.values[:, 2].flatten(1), 2, torch.tensor([1.0, 0.0], dtype=torch.double)
    )
    assert torch.allclose(change, rows[0, 2].expand_as(change), rtol=1e-6, atol=1e-8)


def test_a_curved_edit_changes_its_window_only_and_its_control_by_as_much() -> None:
    acts, labels, _ = planted(2)
    edit = CurvedEdit(
        curves=fit_curves(acts, labels, degree=2),
        strengths=(0.5, 0.0),
        rule="symmetric",
        window=range(1, 2),
    )
    assert edit.hook(0) is None
    call = Call(site="mid", step=1)
    value = acts.values[:8, 1]
    hook, random = edit.hook(1), edit.randomised(3).hook(1)
    assert hook is not None
    assert random is not None
    moved, drawn = (torch.as_tensor(found(value, call)) - value for found in (hook, random))
    assert torch.allclose(moved.flatten(1).norm(dim=1), drawn.flatten(1).norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(moved.flatten(1), drawn.flatten(1))
    assert float(cosine.abs().mean()) < 0.6
    assert "mid" in edit_hooks(edit)


def test_bad_input_of_curves() -> None:
    acts, labels, _ = planted(2, count=24)
    with pytest.raises(InputError, match="18 samples for 28 terms"):
        fit_curves(acts, labels, degree=6)
    with pytest.raises(InputError, match="does not vary"):
        fit_curves(acts, {"a": torch.ones(24)})
    with pytest.raises(InputError, match="one per sample"):
        fit_curves(acts, {"a": torch.ones(3)})
    curves = fit_curves(acts, labels, degree=1)
    with pytest.raises(InputError, match="1 strengths for the factors a, b"):
        CurvedEdit(curves=curves, strengths=(1.0,))
    with pytest.raises(InputError, match="step"):
        CurvedEdit(curves=curves, strengths=(1.0, 0.0), window=range(2, 9))
    with pytest.raises(InputError, match="sample with the same steps"):
        sample_edited(
            untrained(), 1, CurvedEdit(curves=curves, strengths=(1.0, 0.0)), seed=0, steps=5
        )


def test_strengths_decouple_mixed_directions() -> None:
    model = by_hand()
    trial = fresh_trial(
        model, Judge(brightness, {"mean": 0.1, "lean": 0.2}), 8, seed=1, steps=STEPS
    )
    pure = brighter(model)
    mixed = torch.stack([pure.values[0] + pure.values[1], pure.values[0] - 0.5 * pure.values[1]])
    directions = replace(pure, values=mixed, names=("one", "two"))
    found = decoupled_strengths(
        trial,
        lambda strengths: Edit(directions, strengths),
        2,
        "lean",
        0.5,
        start=0.05,
        tolerance=1e-3,
    )
    assert found.missed < 1e-3
    assert found.strengths[0] == pytest.approx(-found.strengths[1], rel=0.01), (
        "the means of the two cancel"
    )
    alone = trial.changes(Edit(directions, (found.strengths[0], 0.0))).mean(dim=0)
    assert float(alone[0].abs()) > 0.2, "control: one direction alone moves both"


def test_settling_a_factor_is_done_once() -> None:
    acts, labels, factors = planted(2)
    curves = fit_curves(acts, labels, degree=2, ridge=1e-9)
    value = curves.units("a", 0.5)
    edit = CurvedEdit(curves=curves, strengths=(value, float("nan")), rule="symmetric", settle=True)
    hook = edit.hook(2)
    assert hook is not None
    once = torch.as_tensor(hook(acts.values[:, 2], Call(site="mid", step=2)))
    read = curves.read(once.flatten(1), 2)
    assert torch.allclose(read[:, 0], torch.full_like(read[:, 0], value), atol=2e-2)
    assert torch.allclose(read[:, 1], curves.read(acts.values[:, 2].flatten(1), 2)[:, 1], atol=2e-2)
    twice = torch.as_tensor(hook(once, Call(site="mid", step=2)))
    assert torch.allclose(once, twice, atol=0.1), "only what reading misses is left to do"
    assert curves.units("a", float(factors[:, 0].mean())) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(InputError, match="hue"):
        curves.units("hue", 1.0)
