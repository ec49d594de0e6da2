"""Projection: a planted mixture leaks before and not after, and its own effect stays as geometry
says.
"""

import pytest
import torch
from small_generator import brighter, brightness, by_hand

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.scores.effects import Judge, Trial, fresh_trial
from interp.diffusion.scores.projection_effect import projection_effect

STEPS = 3
JUDGE = Judge(brightness, {"mean": 0.1, "lean": 0.2})


@pytest.fixture(scope="module")
def trial() -> Trial:
    return fresh_trial(by_hand(), JUDGE, 16, seed=1, steps=STEPS)


def mixed(trial: Trial) -> tuple[StepDirections, StepDirections]:
    """`lean` with half of `mean` in it, and `mean`, which is orthogonal to `lean`."""
    pure = brighter(trial.model)
    values = pure["lean"].values + 0.5 * pure["mean"].values
    return StepDirections(
        values=values,
        names=("lean",),
        steps=pure.steps,
        timesteps=pure.timesteps,
        site=pure.site,
        total=pure.total,
        method="by hand",
        seed=0,
    ), pure["mean"]


def test_a_planted_leak_is_taken_out(trial: Trial) -> None:
    direction, other = mixed(trial)
    found = projection_effect(trial, direction, other, "lean", "mean", 0.05)
    # Right less left is 2 × 0.05 in sd of 0.2; the mean rises by half of 0.05 in sd of 0.1.
    assert found.target_before.value == pytest.approx(0.5, abs=1e-4)
    assert found.leak_before.value == pytest.approx(0.25, abs=1e-4)
    assert found.leak_after.value == pytest.approx(0.0, abs=1e-4)
    assert found.target_kept.value == pytest.approx(1.0, abs=1e-3)
    assert found.leak_left.high < 1e-3
    assert abs(found.drift_left.value) < 1e-3
    assert found.leak_left.control == pytest.approx(1.0, abs=0.2), (
        "a random direction taken out changes little"
    )
    assert found.target_kept.control == pytest.approx(1.0, abs=0.2)
    assert (found.dropped, found.leak_left.n) == (0, 16)
    down = projection_effect(trial, direction, other, "lean", "mean", -0.05)
    assert down.target_kept.value == pytest.approx(1.0, abs=1e-3)
    assert (down.drift_before.value, down.drift_after.value) == pytest.approx(
        (-0.25, 0.0), abs=1e-4
    )


def test_length_can_be_kept(trial: Trial) -> None:
    direction, other = mixed(trial)
    found = projection_effect(trial, direction, other, "lean", "mean", 0.05, keep_length=True)
    assert found.target_kept.value == pytest.approx(1.25**0.5, abs=1e-3), (
        "|lean + mean/2| is √1.25 |lean|"
    )


def test_what_was_not_there_has_no_ratio(trial: Trial) -> None:
    _, other = mixed(trial)
    late = projection_effect(trial, mixed(trial)[0], other, "lean", "mean", 0.05, window=range(1))
    assert late.target_kept.value != late.target_kept.value
    assert late.target_kept.control is None


def test_wrong_arguments_are_told(trial: Trial) -> None:
    direction, other = mixed(trial)
    with pytest.raises(InputError, match="two factors"):
        projection_effect(trial, direction, other, "lean", "lean", 0.05)
    with pytest.raises(InputError, match="one direction"):
        projection_effect(trial, brighter(trial.model), other, "lean", "mean", 0.05)
    with pytest.raises(InputError, match="lies in the span"):
        projection_effect(trial, direction, direction, "lean", "mean", 0.05)
    with pytest.raises(InputError, match="factor"):
        projection_effect(trial, direction, other, "lean", "size", 0.05)
    assert torch.equal(mixed(trial)[0].values, direction.values)
