"""Edits: the rules written out, their exact relation, windows, sums, and a sampler that must be the
directions' own.
"""

import math

import pytest
import torch
from small_generator import SETTINGS, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections, directions_like, random_like
from interp.diffusion.edits.straight import (
    Edit,
    Rule,
    answer,
    edit_hooks,
    edited_step,
    sample_edited,
    start_noise,
)
from interp.diffusion.records.activations import record_steps
from interp.diffusion.sampling.ddim import image_seeds, sample
from interp.diffusion.sampling.levels import MOST_ETA, cancellations, ddim, noise_levels
from interp.models import UNetModel
from interp.testbeds.generators.network import GeneratorSettings, Prediction

STEPS = 4


def predicting(prediction: Prediction) -> UNetModel:
    schedule = "linear" if prediction == "epsilon" else "cosine"
    return untrained(
        GeneratorSettings(
            channels=SETTINGS.channels, groups=2, prediction=prediction, schedule=schedule
        )
    )


def some_directions(model: UNetModel, count: int = 2, steps: int = STEPS) -> StepDirections:
    acts = record_steps(model, 2, seed=5, steps=steps)
    drawn = torch.randn(count, *acts.values.shape[1:], generator=torch.Generator().manual_seed(3))
    return directions_like(acts, drawn, [f"d{i}" for i in range(count)], "by hand")


def parts(model: UNetModel, found: Tensor, images: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Clean image and noise that an answer means."""
    root, rest = alpha.sqrt(), (1 - alpha).sqrt()
    kind = model.scheduler.config.prediction_type
    if kind == "sample":
        return found, (images - root * found) / rest
    if kind == "epsilon":
        return (images - rest * found) / root, found
    return root * images - rest * found, root * found + rest * images


@torch.no_grad()
def by_hand(model: UNetModel, edit: Edit, count: int, seed: int, eta: float) -> Tensor:
    alphas = model.scheduler.alphas_cumprod.double()
    levels = noise_levels(model, STEPS)
    seeds = image_seeds(count, seed)
    images = start_noise(model, seeds).double()
    for step, time in enumerate(levels.timesteps):
        later = time - 1000 // STEPS
        now, after = (
            alphas[time],
            alphas[later] if later >= 0 else torch.tensor(1.0, dtype=torch.double),
        )
        change = edit.changes().get(step)
        handle = model.module.mid_block.register_forward_hook(
            lambda m, a, out, c=change: out if c is None else out + c
        )
        moved = model.module(images.float(), time).sample.double()
        handle.remove()
        clean, noise = parts(model, moved, images, now)
        if edit.rule == "asymmetric":
            _, noise = parts(model, model.module(images.float(), time).sample.double(), images, now)
        sigma = min(eta, MOST_ETA) * ((1 - after) / (1 - now)).sqrt() * (1 - now / after).sqrt()
        images = after.sqrt() * clean + (1 - after - sigma**2).clamp(min=0).sqrt() * noise
        images = images + sigma * start_noise(model, seeds, stream=1 + step)
    return images


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("rule", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_both_rules_are_their_equations(prediction: Prediction, rule: Rule, eta: float) -> None:
    model = predicting(prediction)
    edit = Edit(some_directions(model), (0.5, -1.0), rule=rule)
    made, wanted = (
        sample_edited(model, 3, edit, seed=1, steps=STEPS, eta=eta),
        by_hand(model, edit, 3, 1, eta),
    )
    scale = float(wanted.abs().max())
    assert float((made - wanted).abs().max()) < 5e-4 * scale
    plain = sample_edited(model, 3, None, seed=1, steps=STEPS, eta=eta)
    assert float((made - plain).abs().max()) > 1e-3, "control: the edit does something"


@torch.no_grad()
@pytest.mark.parametrize("prediction", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_symmetric_is_the_predicted_share_of_asymmetric(prediction: Prediction, eta: float) -> None:
    model = predicting(prediction)
    model.module.double()
    scheduler, levels = ddim(model, STEPS)
    change = some_directions(predicting(prediction), 1).values[0]
    shares = cancellations(levels, eta=eta)
    for step, time in enumerate(levels.timesteps):
        images = start_noise(model, (1, 2))
        noise = torch.ones_like(images)
        plain = answer(model, images, time)
        edited = answer(
            model, images, time, {"mid": lambda value, call, s=step: value + change[s].to(value)}
        )
        made = {
            rule: edited_step(
                scheduler, levels, step, images, plain, edited, rule=rule, eta=eta, noise=noise
            )
            for rule in ("symmetric", "asymmetric")
        }
        base = edited_step(
            scheduler, levels, step, images, plain, plain, rule="symmetric", eta=eta, noise=noise
        )
        moved, wanted = made["symmetric"] - base, shares[step] * (made["asymmetric"] - base)
        assert float((moved - wanted).abs().max()) < 1e-6 * max(
            1.0, float((made["asymmetric"] - base).abs().max())
        )
        assert float((made["asymmetric"] - base).abs().max()) > 1e-4, "control"


def test_mean_cancellation_of_known_schedules() -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_start=1e-4, beta_end=0.02, clip_sample=False, timestep_spacing="leading"
    )
    model = UNetModel(untrained().module, scheduler)
    for steps, still, noisy in (
        (10, 0.575, 0.774),
        (25, 0.304, 0.473),
        (50, 0.172, 0.287),
        (100, 0.093, 0.163),
    ):
        levels = noise_levels(model, steps)
        assert float(cancellations(levels).mean()) == pytest.approx(still, abs=1e-3)
        assert float(cancellations(levels, eta=1.0).mean()) == pytest.approx(noisy, abs=1e-3)


def test_without_an_edit_it_is_sampling() -> None:
    model = untrained()
    assert torch.allclose(
        sample_edited(model, 3, None, seed=2, steps=STEPS),
        sample(model, 3, seed=2, steps=STEPS),
        atol=1e-5,
    )
    nothing = Edit(some_directions(model), (0.0, 0.0))
    assert torch.equal(
        sample_edited(model, 3, nothing, seed=2, steps=STEPS),
        sample_edited(model, 3, None, seed=2, steps=STEPS),
    )
    batched = sample_edited(
        model,
        3,
        Edit(some_directions(model), (1.0, 1.0)),
        seed=2,
        steps=STEPS,
        eta=1.0,
        batch_size=2,
    )
    whole = sample_edited(
        model, 3, Edit(some_directions(model), (1.0, 1.0)), seed=2, steps=STEPS, eta=1.0
    )
    assert torch.allclose(batched, whole, atol=1e-5)


def test_hooks_are_the_symmetric_rule_and_leave_nothing_behind() -> None:
    model = untrained()
    edit = Edit(some_directions(model), (0.5, 0.2), rule="symmetric", window=range(1, 3))
    before = sample(model, 2, seed=0, steps=STEPS)
    with model.hooked(edit_hooks(edit)):
        made = sample(model, 2, seed=0, steps=STEPS)
    assert torch.allclose(made, sample_edited(model, 2, edit, seed=0, steps=STEPS), atol=1e-5)
    assert not torch.allclose(made, before, atol=1e-3)
    assert torch.equal(sample(model, 2, seed=0, steps=STEPS), before)
    assert all(
        not part._forward_hooks and not part._forward_pre_hooks for part in model.module.modules()
    )
    with pytest.raises(InputError, match="two answers"):
        edit_hooks(Edit(some_directions(model), (1.0, 1.0)))


def test_windows_and_sums() -> None:
    model = untrained()
    directions = some_directions(model)
    both = Edit(directions, (0.5, -2.0))
    assert torch.allclose(
        both.changes()[2], 0.5 * directions.values[0, 2] - 2 * directions.values[1, 2]
    )
    assert sorted(Edit(directions, (1.0, 0.0), window=range(1, 3)).changes()) == [1, 2]
    late = sample_edited(
        model, 2, Edit(directions, (1.0, 0.0), window=range(3, 4)), seed=0, steps=STEPS
    )
    values = directions.values.clone()
    values[:, :3] = 0
    only_late = StepDirections(
        values=values,
        names=("a", "b"),
        steps=directions.steps,
        timesteps=directions.timesteps,
        site="mid",
        total=STEPS,
        method="by hand",
        seed=0,
    )
    assert torch.equal(
        late, sample_edited(model, 2, Edit(only_late, (1.0, 0.0)), seed=0, steps=STEPS)
    )


def test_boosting_is_noise_from_a_step_on() -> None:
    model = untrained()
    kept = {"seed": 0, "steps": STEPS}
    assert torch.equal(
        sample_edited(model, 2, None, boost=0, **kept),
        sample_edited(model, 2, None, eta=1.0, **kept),
    )
    assert torch.equal(
        sample_edited(model, 2, None, boost=STEPS, **kept), sample_edited(model, 2, None, **kept)
    )
    assert not torch.equal(
        sample_edited(model, 2, None, boost=1, **kept), sample_edited(model, 2, None, **kept)
    )
    with pytest.raises(InputError, match="boosting from step 9"):
        sample_edited(model, 2, None, boost=9, **kept)


def test_another_sampler_is_refused() -> None:
    model = untrained()
    edit = Edit(some_directions(model), (1.0, 1.0))
    with pytest.raises(InputError, match=r"found with 4 steps .* the sampler takes 5"):
        sample_edited(model, 2, edit, seed=0, steps=5)
    other = UNetModel(
        model.module,
        type(model.scheduler).from_config(model.scheduler.config, timestep_spacing="leading"),
    )
    with pytest.raises(InputError, match="sample with the same steps"):
        sample_edited(other, 2, edit, seed=0, steps=STEPS)


def test_clipping_is_turned_off_aloud() -> None:
    model = untrained()
    clips = UNetModel(
        model.module,
        type(model.scheduler).from_config(
            model.scheduler.config, clip_sample=True, clip_sample_range=0.01
        ),
    )
    edit = Edit(some_directions(model), (1.0, 1.0))
    with pytest.warns(UserWarning, match="clip_sample=True"):
        made = sample_edited(clips, 2, edit, seed=0, steps=STEPS)
    assert torch.equal(made, sample_edited(model, 2, edit, seed=0, steps=STEPS))


def test_random_directions_have_the_norms_of_others() -> None:
    directions = some_directions(untrained())
    control = random_like(directions, seed=1)
    assert torch.allclose(
        control.values.flatten(2).norm(dim=2), directions.values.flatten(2).norm(dim=2), rtol=1e-5
    )
    assert (
        float(torch.nn.functional.cosine_similarity(control.flat, directions.flat).abs().max())
        < 0.5
    )
    assert random_like(directions, 5, seed=1).names == tuple(f"random {i}" for i in range(5))
    assert torch.equal(random_like(directions, seed=1).values, control.values)
    assert directions.scaled(3.0).norms.tolist() == pytest.approx([3.0, 3.0])


def test_wrong_arguments_get_one_line() -> None:
    model = untrained()
    directions = some_directions(model)
    with pytest.raises(InputError, match="1 strengths were given for 2"):
        Edit(directions, (1.0,))
    with pytest.raises(InputError, match="does not lie within"):
        Edit(directions, (1.0, 1.0), window=range(3, 9))
    with pytest.raises(InputError, match="unknown direction"):
        directions["sideways"]
    wider = untrained(GeneratorSettings(channels=(4, 8, 16), groups=2))
    with pytest.raises(InputError, match=r"directions are \(8, 2, 2\), mid holds \(16, 2, 2\)"):
        sample_edited(wider, 2, Edit(directions, (1.0, 1.0)), seed=0, steps=STEPS)
    model.module.mid_block = None
    with pytest.raises(InputError, match="unknown site"):
        sample_edited(
            UNetModel(model.module, model.scheduler),
            2,
            Edit(directions, (1.0, 1.0)),
            seed=0,
            steps=STEPS,
        )
    with pytest.raises(InputError, match="eta is 2"):
        sample_edited(model, 2, None, seed=0, steps=STEPS, eta=2.0)
    with pytest.raises(InputError, match="not finite"):
        StepDirections(
            values=directions.values * math.nan,
            names=("a", "b"),
            steps=directions.steps,
            timesteps=directions.timesteps,
            site="mid",
            total=STEPS,
            method="by hand",
            seed=0,
        )


def test_the_noise_of_every_step_is_another() -> None:
    model = untrained()
    drawn = torch.stack(
        [start_noise(model, (0, 1), stream=stream) for stream in range(12)]
    ).flatten(1)
    likeness = torch.corrcoef(drawn) - torch.eye(12)
    assert float(likeness.abs().max()) < 0.3, "384 numbers each; equal noise would give 1"
    assert torch.equal(start_noise(model, (1,)), start_noise(model, (0, 1))[1:])
