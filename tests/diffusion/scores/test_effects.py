"""Effects: known changes are measured as they are; strengths are matched; labels, regression and
projection on planted activations.
"""

import numpy as np
import pytest
import torch
from small_generator import brighter, brightness, by_hand
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.mean_difference import mean_difference_directions
from interp.diffusion.directions.projection import overlap, projected_out
from interp.diffusion.directions.regression import regression_directions
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.edits.straight import Edit, sample_edited
from interp.diffusion.records.activations import StepActivations
from interp.diffusion.scores.effects import (
    Judge,
    Trial,
    effect_matrix,
    fresh_trial,
    judge_of,
    odd_changes,
    random_edit,
    score_edit,
)
from interp.diffusion.scores.matching_strength import match_strength, strength_for

STEPS = 3
JUDGE = Judge(brightness, {"mean": 0.1, "lean": 0.2})


@pytest.fixture(scope="module")
def trial() -> Trial:
    return fresh_trial(by_hand(), JUDGE, 16, seed=1, steps=STEPS)


def test_known_changes_are_measured_in_sd(trial: Trial) -> None:
    directions = brighter(trial.model)
    changes = trial.changes(Edit(directions, (0.05, 0.1)))
    assert torch.allclose(changes, torch.tensor([[0.5, 1.0]]).expand(16, 2).double(), atol=1e-4)
    edit = Edit(directions["lean"], (-0.1,))
    score = score_edit(trial, edit, [random_edit(edit, seed=i) for i in range(2)], "lean", sign=-1)
    assert score.change.value == pytest.approx(-1.0, abs=1e-4)
    assert (score.right_sign.value, score.change.n, score.dropped) == (1.0, 16, 0)
    assert abs(score.change.control or 0) < 0.2
    assert score.leak.value == pytest.approx(0.0, abs=1e-4)
    assert score.leak.control is not None
    assert score.leak.control > 0
    assert score.selectivity == pytest.approx(1.0, abs=1e-3)
    mixed = Edit(directions, (0.05, 0.1))
    leaking = score_edit(trial, mixed, [random_edit(mixed, seed=0)], "lean")
    assert leaking.leaks["mean"].value == pytest.approx(0.5, abs=1e-4)
    assert leaking.selectivity == pytest.approx(2 / 3, abs=1e-3)


def test_effect_matrix_is_the_known_one(trial: Trial) -> None:
    table = effect_matrix(trial, brighter(trial.model), (0.05, 0.1))
    found = np.array([[cell.value for cell in row.values()] for row in table.scores.values()])
    assert found == pytest.approx(np.diag([0.5, 1.0]), abs=1e-4)
    late = odd_changes(trial, brighter(trial.model)["mean"], 0.05, window=range(2))
    assert late == pytest.approx(np.zeros((16, 2)), abs=1e-6), (
        "control: outside the window nothing is added"
    )


def test_images_that_cannot_be_read_are_counted() -> None:
    def reader(images: Tensor) -> dict[str, Tensor]:
        mean = brightness(images)["mean"]
        return {"mean": torch.where(mean > 0.02, torch.nan, mean)}

    model = by_hand()
    trial = fresh_trial(model, Judge(reader, {"mean": 1.0}), 32, seed=1, steps=STEPS)
    edit = Edit(brighter(model)["mean"], (0.001,))
    lost = int(trial.changes(edit).isnan().sum())
    score = score_edit(trial, edit, [random_edit(edit, seed=0)], "mean")
    assert score.dropped == lost
    assert score.change.n == 32 - lost
    with pytest.raises(InputError, match="0 of 32 edited images could be read"):
        score_edit(trial, Edit(brighter(model)["mean"], (9.0,)), [edit], "mean")
    assert strength_for(trial, brighter(model)["mean"], "mean", 5.0).reached is False


def test_strengths_are_matched() -> None:
    linear = match_strength(lambda s: 12 * s, 0.5, tolerance=0.02)
    assert linear.reached
    assert linear.strength == pytest.approx(0.5 / 12, rel=0.02)
    assert match_strength(lambda s: 900 * s, 0.5).strength == pytest.approx(0.5 / 900, rel=0.05), (
        "below the start"
    )
    never = match_strength(lambda s: min(s, 0.3), 0.5, most=4.0)
    assert not never.reached
    assert never.effect == 0.3
    hump = match_strength(lambda s: 0.3 - abs(s - 0.32), 0.5, most=1e6)
    assert not hump.reached
    assert len(hump.tried) < 12
    assert not match_strength(lambda s: -s, 0.5, most=4.0).reached, "the wrong sign is never enough"
    with pytest.raises(InputError, match="give positive numbers"):
        match_strength(lambda s: s, -0.5)


def test_strength_for_a_factor(trial: Trial) -> None:
    directions = brighter(trial.model)
    for sign in (1, -1):
        found = strength_for(trial, directions["lean"], "lean", 0.5, sign=sign)
        assert found.reached
        assert found.strength == pytest.approx(0.05, rel=0.06)
    assert not strength_for(trial, directions["lean"], "mean", 0.5, most=0.5).reached
    with pytest.raises(InputError, match="2 directions were given"):
        strength_for(trial, directions, "mean")


def planted(correlated: float = 0.0) -> tuple[StepActivations, dict[str, Tensor], Tensor]:
    """Activations `factors @ rows` with factors that go together as wanted."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(400, 2, generator=generator)
    factors[:, 1] = correlated * factors[:, 0] + (1 - correlated**2) ** 0.5 * factors[:, 1]
    rows = torch.linalg.qr(torch.randn(24, 2, generator=generator)).Q.T
    values = (factors @ rows).reshape(400, 2, 3, 2, 2)
    acts = StepActivations(
        values=values,
        steps=(0, 1),
        timesteps=(999, 499),
        images=torch.zeros(400, 3, 8, 8),
        site="mid",
        total=2,
        seed=0,
    )
    return acts, {"a": factors[:, 0], "b": factors[:, 1]}, rows


def cosines(directions: StepDirections, rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(directions.flat, dim=1) @ rows.T


def test_mean_differences_and_regression_on_planted_factors() -> None:
    acts, labels, rows = planted()
    found = mean_difference_directions(acts, labels, 60)
    assert torch.allclose(cosines(found, rows), torch.eye(2), atol=0.15)
    top = labels["a"].argsort()
    by_hand = acts.values[top[-60:]].mean(dim=0) - acts.values[top[:60]].mean(dim=0)
    assert torch.allclose(found["a"].values[0], by_hand)
    acts, labels, rows = planted(0.8)
    mixed, apart = mean_difference_directions(acts, labels, 60), regression_directions(acts, labels)
    assert float(cosines(mixed, rows)[0, 1]) > 0.4, (
        "control: mean differences mix factors that go together"
    )
    assert torch.allclose(cosines(apart, rows), torch.eye(2), atol=1e-4)
    few = mean_difference_directions(acts, labels, 5, sample=20, seed=1)
    assert torch.equal(
        few.values, mean_difference_directions(acts, labels, 5, sample=20, seed=1).values
    )
    assert not torch.equal(
        few.values, mean_difference_directions(acts, labels, 5, sample=20, seed=2).values
    )


def test_projection_takes_all_others_out_at_once() -> None:
    acts, _, _ = planted()
    drawn = torch.randn(4, *acts.values.shape[1:], generator=torch.Generator().manual_seed(1))
    drawn[2] = drawn[1] + 0.3 * drawn[2]
    directions = directions_like(acts, drawn, ("a", "b", "c", "d"), "by hand")
    others = directions_like(acts, drawn[1:], ("b", "c", "d"), "by hand")
    left = projected_out(directions["a"], others)
    assert float((left.flat @ others.flat.T).abs().max()) < 1e-4
    one_by_one = projected_out(projected_out(directions["a"], others["b"]), others["c"])
    assert float((one_by_one.flat @ others["b"].flat.T).abs().max()) > 1e-2, "control"
    each = projected_out(directions["a"], others["b"], each_step=True)
    assert float((each.values * others["b"].values).sum(dim=(2, 3, 4)).abs().max()) < 1e-5
    assert float(overlap(directions["b"], others)) == pytest.approx(1.0, abs=1e-5)
    assert float(overlap(left, others)) == pytest.approx(0.0, abs=1e-5)
    with pytest.raises(InputError, match="lies in the span"):
        projected_out(directions["c"], others)


def test_wrong_labels_get_one_line() -> None:
    acts, labels, _ = planted()
    with pytest.raises(InputError, match="399 values of 'a'"):
        mean_difference_directions(acts, {"a": labels["a"][:-1]})
    with pytest.raises(InputError, match="1000 are needed"):
        mean_difference_directions(acts, labels, 500)
    with pytest.raises(InputError, match="is the same in every sample"):
        mean_difference_directions(acts, {"a": torch.ones(400)})
    with pytest.raises(InputError, match="determine each other"):
        regression_directions(acts, {"a": labels["a"], "again": labels["a"]})
    with pytest.raises(InputError, match="none of mean, lean varies"):
        judge_of(brightness, torch.zeros(9, 3, 8, 8))


def test_a_trial_keeps_the_images_it_starts_from(trial: Trial) -> None:
    with pytest.raises(InputError, match="no control"):
        score_edit(trial, Edit(brighter(trial.model)["mean"], (0.1,)), [], "mean")
    assert torch.equal(trial.images, sample_edited(trial.model, 16, None, seed=1, steps=STEPS))
