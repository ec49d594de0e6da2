"""Paths inside a UNet: what is known of the shares whatever the weights are, and one path against
the network run by hand.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from small_generator import SETTINGS, brightness, by_hand, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.bottleneck.carriers import CarrierShares, carrier_shares
from interp.diffusion.bottleneck.clamped import ClampedRuns
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
from interp.diffusion.sampling.ddim import image_seeds
from interp.diffusion.sampling.guided import guided
from interp.diffusion.sampling.levels import ddim
from interp.diffusion.scores.effects import Judge, Trial, fresh_trial
from interp.models import Call, UNetModel
from interp.models.adapters.skips import skip_count
from interp.testbeds.generators.network import GeneratorSettings

STEPS = 3
COUNT = 16
JUDGE = Judge(brightness, {"mean": 0.1, "lean": 0.1})
SKIPS = tuple(f"skip{number}" for number in range(6))


def removed(count: int) -> UNetModel:
    return untrained(
        GeneratorSettings(channels=SETTINGS.channels, groups=2, removed_skips=count, seed=1)
    )


def pushes(model: UNetModel, steps: int = STEPS, site: str = "mid") -> StepDirections:
    acts = record_steps(model, 2, site, seed=5, steps=steps)
    drawn = torch.randn(1, *acts.values.shape[1:], generator=torch.Generator().manual_seed(3))
    return directions_like(acts, 10 * drawn, ("d",), "by hand")


def trial_of(model: UNetModel, eta: float = 0.0, batch_size: int = 64) -> Trial:
    return fresh_trial(model, JUDGE, COUNT, seed=2, steps=STEPS, eta=eta, batch_size=batch_size)


def shares_of(model: UNetModel, *carriers: str, window: range | None = None) -> CarrierShares:
    return carrier_shares(
        trial_of(model),
        Edit(pushes(model), (1.0,), window=window),
        factors=("mean",),
        carriers=carriers,
    )


def added(change: Tensor, value: Tensor, call: Call) -> Tensor:
    return value + change


def test_every_skip_is_a_carrier() -> None:
    model = untrained()
    assert ClampedRuns(trial_of(model)).carriers == ("mid", *SKIPS)
    assert skip_count(model.module) == len(SKIPS)


def test_an_edit_of_the_last_step_goes_on_through_nothing() -> None:
    found = shares_of(untrained(), "mid", "skip0", "skip5", window=range(STEPS - 1, STEPS))
    assert len(found.rows) == 3
    for row in found.rows:
        assert row.lost.value == pytest.approx(0, abs=1e-5)
        assert row.kept.value == pytest.approx(1, abs=1e-5)
        assert row.lost.control == pytest.approx(0, abs=1e-5)
        assert row.lost.n == COUNT
    assert found.direct["mean"].value == pytest.approx(1, abs=1e-5)


def test_an_earlier_edit_has_no_direct_share_where_the_last_answer_is_the_image() -> None:
    model = untrained()
    runs, edit = ClampedRuns(trial_of(model)), Edit(pushes(model), (30.0,), window=range(1))
    whole, direct = runs.changes([(edit, frozenset()), (edit, frozenset(runs.carriers))])
    assert float(np.abs(direct).max()) < 1e-5, "the network predicts the clean image"
    assert float(np.abs(whole).max()) > 1e-2, "control: it has an effect"


@pytest.mark.parametrize("rule", ["asymmetric", "symmetric"])
def test_holding_everything_leaves_what_is_put_into_the_answers(rule: Rule) -> None:
    model = untrained()
    trial, edit = trial_of(model), Edit(pushes(model), (1.0,), rule)
    scheduler, levels = ddim(model, STEPS)
    images = start_noise(model, image_seeds(COUNT, 2))
    for step, time in enumerate(levels.timesteps):
        with torch.no_grad():
            plain = answer(model, images, time)
            last = answer(
                model, images, time, {"mid": partial(added, edit.directions.values[0, step])}
            )
        images = edited_step(scheduler, levels, step, images, plain, plain, rule="symmetric")
    runs = ClampedRuns(trial)
    (found,) = runs.changes([(edit, frozenset(runs.carriers))])
    assert np.allclose(found, (JUDGE.table(last) - trial.base).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "held", [{"skip0"}, {"skip2"}, {"skip5"}, {*SKIPS}, {"mid", *SKIPS} - {"skip3"}], ids=len
)
def test_what_is_held_against_the_network_run_by_hand(held: set[str]) -> None:
    model = untrained()
    trial, edit = trial_of(model), Edit(pushes(model), (1.0,), "symmetric")
    images = by_block(model, held, edit)
    whole, found = ClampedRuns(trial).changes([(edit, frozenset()), (edit, frozenset(held))])
    assert np.allclose(found, (JUDGE.table(images) - trial.base).numpy(), atol=1e-5)
    assert not np.allclose(found, whole, atol=1e-3), "control: holding matters"


def by_block(model: UNetModel, held: set[str], edit: Edit) -> Tensor:
    """The edited images with carriers taken from the unedited run, by hooks on whole blocks."""
    stored: dict[str, list[Tensor]] = {name: [] for name in ("mid", *SKIPS)}

    def keep(name: str, value: Tensor) -> Tensor:
        stored[name].append(value.clone())
        return value

    def put(name: str, value: Tensor) -> Tensor:
        earlier = stored[name].pop(0)
        return earlier if name in held else value

    passed_through(model, keep, None)
    return passed_through(model, put, edit)


def passed_through(
    model: UNetModel, change: Callable[[str, Tensor], Tensor], edit: Edit | None
) -> Tensor:
    """Images of a network whose every carrier goes through a function; a block of the way up takes
    two skips.
    """

    def on_block(number: int, module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        first = 2 * (2 - number)
        return (
            args[0],
            tuple(change(f"skip{first + place}", skip) for place, skip in enumerate(args[1])),
            *args[2:],
        )

    handles = [
        block.register_forward_pre_hook(partial(on_block, number))
        for number, block in enumerate(model.module.up_blocks)
    ]
    handles.append(
        model.module.mid_block.register_forward_hook(
            lambda module, args, output: change("mid", output)
        )
    )
    images = sample_edited(model, COUNT, edit, seed=2, steps=STEPS)
    for handle in handles:
        handle.remove()
    return images


def test_removed_skips_carry_nothing() -> None:
    found = shares_of(removed(2), "skip0", "skip1", "skip4")
    assert [found[name]["mean"].lost.value for name in ("skip0", "skip1")] == [0, 0]
    assert [found[name]["mean"].kept.value for name in ("skip0", "skip1")] == [
        found.direct["mean"].value
    ] * 2
    assert abs(found["skip4"]["mean"].lost.value) > 1e-4, "control: one that is left"


def test_without_any_skip_the_bottleneck_carries_all() -> None:
    found = shares_of(removed(6), "mid")
    assert found["mid"]["mean"].kept.value == 1
    assert found["mid"]["mean"].lost.value == pytest.approx(1 - found.direct["mean"].value)


def test_nothing_held_is_the_edit_itself_with_the_noise_of_every_step() -> None:
    model = untrained()
    trial, edit = trial_of(model, eta=1.0, batch_size=5), Edit(pushes(model), (1.0,))
    (found,) = ClampedRuns(trial).changes([(edit, frozenset())])
    assert np.allclose(found, trial.changes(edit).numpy(), atol=1e-4)


def test_no_share_is_told_of_a_factor_that_is_not_moved() -> None:
    model = untrained()
    directions = pushes(model)
    nothing = carrier_shares(trial_of(model), Edit(directions, (0.0,)), carriers=("mid",))
    assert {row.factor for row in nothing.rows} == {"mean", "lean"}
    assert all(
        np.isnan(row.lost.value) and "no sure effect" in row.lost.interval for row in nothing.rows
    )
    assert "mid" in str(nothing)


def test_images_that_cannot_be_read_are_counted_out() -> None:
    model = untrained()
    trial = trial_of(model)
    blind = Trial(
        **{
            **vars(trial),
            "base": torch.where(torch.arange(COUNT)[:, None] < 4, torch.nan, trial.base),
        }
    )
    found = carrier_shares(
        blind, Edit(pushes(model), (1.0,)), carriers=("skip0",), factors=("mean",)
    )
    assert (found.whole["mean"].n, found["skip0"]["mean"].lost.n) == (COUNT - 4, COUNT - 4)


def test_wrong_arguments_get_one_line() -> None:
    model = untrained()
    trial, edit = trial_of(model), Edit(pushes(model), (1.0,))
    with pytest.raises(
        InputError, match="the edit is at up0; shares are of edits of the bottleneck"
    ):
        carrier_shares(trial, Edit(pushes(model, site="up0"), (1.0,)))
    with pytest.raises(InputError, match="skip9"):
        carrier_shares(trial, edit, carriers=("skip9",))
    with pytest.raises(InputError, match="hue"):
        carrier_shares(trial, edit, factors=("hue",))
    with pytest.raises(InputError, match="the directions were found with 5 steps"):
        carrier_shares(trial, Edit(pushes(model, steps=5), (1.0,)))


def test_a_guided_model_is_refused() -> None:
    model, labels = untrained(classes=3), torch.arange(COUNT) % 3
    trial = fresh_trial(guided(model, 2.0), JUDGE, COUNT, seed=2, steps=STEPS, labels=labels)
    acts = record_steps(model, 2, seed=5, steps=STEPS, labels=labels[:2])
    edit = Edit(
        directions_like(acts, torch.ones(1, *acts.values.shape[1:]), ("d",), "by hand"), (1.0,)
    )
    with pytest.raises(
        InputError, match="is guided, and only one of its two passes could be clamped"
    ):
        carrier_shares(trial, edit)


def test_a_network_without_skips_has_one_carrier() -> None:
    model = by_hand()
    assert ClampedRuns(trial_of(model)).carriers == ("mid",)
