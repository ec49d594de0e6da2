"""Few labels: exact where the code is exact, less where samples are noisy or labels wrong."""

import numpy as np
import pytest
import torch
from small_generator import brightness, by_hand
from torch import Tensor

from interp.core import InputError
from interp.diffusion.records.activations import StepActivations, record_steps
from interp.diffusion.scores.effects import Judge, Trial, fresh_trial
from interp.diffusion.scores.label_efficiency import (
    LabelEfficiency,
    _exchanged,
    _resampled,
    label_efficiency,
)

STEPS = 3
JUDGE = Judge(brightness, {"mean": 0.1, "lean": 0.2})


@pytest.fixture(scope="module")
def trial() -> Trial:
    return fresh_trial(by_hand(), JUDGE, 12, seed=1, steps=STEPS)


def planted(trial: Trial, noise: float) -> tuple[StepActivations, dict[str, Tensor]]:
    """`lean` along its own direction at the last step, with noise on every number; a direction of
    length 1 there moves it by 1/√192.
    """
    acts = record_steps(trial.model, 2, seed=9, steps=STEPS)
    generator = torch.Generator().manual_seed(3)
    factor = torch.randn(400, generator=generator)
    shape = acts.values.shape[1:]
    unit = torch.zeros(shape)
    unit[-1, :, :, 4:], unit[-1, :, :, :4] = 1.0, -1.0
    values = factor[:, None, None, None, None] * unit / unit.norm() + noise * torch.randn(
        400, *shape, generator=generator
    )
    images = torch.zeros(400, *acts.images.shape[1:])
    return StepActivations(
        values=values,
        steps=acts.steps,
        timesteps=acts.timesteps,
        images=images,
        site=acts.site,
        total=acts.total,
        seed=9,
    ), {"lean": factor}


def measured(trial: Trial, noise: float, **given: float) -> LabelEfficiency:
    acts, labels = planted(trial, noise)
    return label_efficiency(
        trial,
        acts,
        labels,
        "lean",
        1.0,
        counts=(5, 20, 100),
        draws=4,
        wrong=given.get("wrong", 0.0),
    )


def test_an_exact_code_needs_no_more_than_five(trial: Trial) -> None:
    found = measured(trial, 0.0)
    # Pixels move by 1/√192, so right less left by 2/√192, in sd of 0.2.
    whole = 2 / 192**0.5 / 0.2
    for row in found.rows:
        assert row.effect.value == pytest.approx(whole, rel=1e-3)
        assert row.ratio.value == pytest.approx(1.0, abs=1e-3)
        assert abs(row.effect.control or 0) < whole / 3
        assert (row.labelled, row.effect.n) == (4 * row.per_side, 12)
    assert found.dropped == 0


def test_noisy_samples_need_more_labels(trial: Trial) -> None:
    found = measured(trial, 0.3)
    effects = [row.effect.value for row in found.rows]
    assert effects[0] < effects[1] < effects[2]
    assert found[5].ratio.high < 1
    assert found[100].ratio.value == found[100].ratio.low == found[100].ratio.high == 1
    assert found[5].ratio.value == pytest.approx(effects[0] / effects[2])
    assert found == measured(trial, 0.3)
    # A mean difference of s samples a side is the planted one of length m beside noise of variance
    # 2 σ²/s in each of 576 numbers.
    acts, labels = planted(trial, 0.3)
    apart = 2 * float(labels["lean"].sort().values[-100:].mean())
    share = apart / (apart**2 + acts.values[0].numel() * 2 * 0.3**2 / 100) ** 0.5
    assert effects[2] == pytest.approx(share * 2 / 192**0.5 / 0.2, rel=0.1)


def test_wrong_labels_cost_effect(trial: Trial) -> None:
    clean, wrong = measured(trial, 0.3), measured(trial, 0.3, wrong=0.5)
    assert wrong[20].effect.value < clean[20].effect.value
    nothing = measured(trial, 0.3, wrong=1.0)
    assert nothing[5].effect.low < 0 < nothing[5].effect.high
    label = torch.arange(10.0)
    label[0] = torch.nan
    changed = _exchanged(label, 1.0, [0, 0])
    assert bool(changed[0].isnan())
    assert changed[1:].sort().values.tolist() == label[1:].tolist()
    assert changed[1:].tolist() != label[1:].tolist()
    assert int((_exchanged(label, 0.34, [0, 0])[1:] != label[1:]).sum()) <= 3


def test_resampling_is_over_draws_and_images() -> None:
    generator = np.random.default_rng(0)
    # Rows differ and images do not, and the other way about: the interval must see either.
    for effects in (
        np.repeat(generator.normal(size=(1, 20, 1)), 30, axis=2),
        np.repeat(generator.normal(size=(1, 1, 30)), 20, axis=1),
    ):
        cases = effects[0, :, 0] if effects[0, :, 0].std() > 1e-9 else effects[0, 0]
        spread = float(_resampled(effects, 0).std())
        assert spread == pytest.approx(cases.std() / len(cases) ** 0.5, rel=0.06)


def test_unknown_labels_are_left_out_and_wrong_arguments_told(trial: Trial) -> None:
    acts, labels = planted(trial, 0.0)
    some = {"lean": torch.where(torch.arange(400) % 2 == 0, labels["lean"], torch.nan)}
    found = label_efficiency(trial, acts, some, "lean", 1.0, counts=(5, 50), draws=2)
    assert found[5].ratio.value == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(InputError, match="200 samples have a value of 'lean', 400 are needed"):
        label_efficiency(trial, acts, some, "lean", 1.0)
    with pytest.raises(InputError, match="2 draws"):
        label_efficiency(trial, acts, labels, "lean", 1.0, draws=1)
    with pytest.raises(InputError, match="share of 2"):
        label_efficiency(trial, acts, labels, "lean", 1.0, wrong=2.0)
    with pytest.raises(InputError, match="there are 5, 50"):
        found[7]
