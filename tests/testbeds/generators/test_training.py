"""Training: interrupted and resumed equals uninterrupted, seeds decide, every prediction learns,
and folders are diffusers' own.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from small_generator import SETTINGS, pictures

from interp.core import InputError, UnavailableError
from interp.core.files import read_json
from interp.diffusion.sampling.ddim import sample
from interp.diffusion.sampling.labels import prepared_labels
from interp.testbeds.generators.network import (
    GeneratorSettings,
    build_network,
    build_scheduler,
    load_generator,
)
from interp.testbeds.generators.training import (
    CHECKPOINT,
    loss_weights,
    rate,
    right_answer,
    train_generator,
)
from interp.testbeds.training import training_curve


class Interrupted(Exception):
    """What stands for a killed run."""


def interrupting(at: int) -> Any:
    def progress(stage: str, done: int, total: int, unit: str) -> None:
        if done == at:
            raise Interrupted

    return progress


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return UNet2DModel.from_pretrained(folder).state_dict()


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    settings = replace(SETTINGS, skip_dropout=0.5)
    labels = torch.arange(12) % 3
    straight = train_generator(pictures(), settings, folder=tmp_path / "straight", labels=labels)
    with pytest.raises(Interrupted):
        train_generator(
            pictures(),
            settings,
            folder=tmp_path / "broken",
            labels=labels,
            progress=interrupting(5),
        )
    assert (tmp_path / "broken" / CHECKPOINT).is_file()
    steps: list[int] = []
    resumed = train_generator(
        pictures(),
        settings,
        folder=tmp_path / "broken",
        labels=labels,
        progress=lambda stage, done, total, unit: steps.append(done),
    )
    assert steps == [5, 6], "it goes on from the checkpoint of step 4"
    first, second = weights(straight), weights(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert training_curve(straight) == training_curve(resumed)
    assert not (resumed / CHECKPOINT).exists()


def test_seeds_decide_and_leave_the_global_one_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    same = [weights(train_generator(pictures(), SETTINGS, folder=tmp_path / name)) for name in "ab"]
    other = weights(train_generator(pictures(), replace(SETTINGS, seed=2), folder=tmp_path / "c"))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(same[0][name], same[1][name]) for name in other)
    assert not torch.equal(same[0]["conv_in.weight"], other["conv_in.weight"])


@pytest.mark.parametrize(
    ("prediction", "schedule"),
    [("sample", "cosine"), ("v_prediction", "cosine"), ("epsilon", "linear")],
)
def test_the_right_answer_is_what_the_scheduler_turns_into_the_image(
    prediction: Any, schedule: Any
) -> None:
    scheduler = build_scheduler(GeneratorSettings(prediction=prediction, schedule=schedule))
    scheduler.set_timesteps(20)
    clean, noise = pictures(2), pictures(2, seed=1)
    for time in (949, 499, 49):
        retained = scheduler.alphas_cumprod[time]
        noised = retained.sqrt() * clean + (1 - retained).sqrt() * noise
        answer = right_answer(clean, noise, retained, prediction)
        assert torch.allclose(
            scheduler.step(answer, time, noised).pred_original_sample, clean, atol=1e-3
        )
        wrong = right_answer(noise, clean, retained, prediction)
        assert not torch.allclose(
            scheduler.step(wrong, time, noised).pred_original_sample, clean, atol=0.1
        ), "control"


def test_a_network_learns_one_colour(tmp_path: Path) -> None:
    images = torch.full((4, 3, 8, 8), -0.6)
    images[:, 1] = 0.5
    settings = replace(
        SETTINGS, steps=80, batch_size=8, learning_rate=2e-2, ema=0.9, checkpoint_every=80
    )
    folder = train_generator(images, settings, folder=tmp_path / "made")
    losses = training_curve(folder)["loss"]
    assert losses[-1] < losses[0] / 2
    made = sample(load_generator(folder), 4, seed=0, steps=10)
    assert float((made - images).abs().mean()) < 0.2, (
        "each channel is 0.6 from zero, 1.1 from another's colour"
    )


def test_the_folder_is_diffusers_own(tmp_path: Path) -> None:
    folder = train_generator(pictures(), SETTINGS, folder=tmp_path / "made", data="noise")
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    assert (
        scheduler.config.prediction_type,
        scheduler.config.timestep_spacing,
        scheduler.config.clip_sample,
    ) == (
        "sample",
        "trailing",
        False,
    )
    recipe = read_json(folder / "recipe.json")
    assert (
        GeneratorSettings(
            **{**recipe["settings"], "channels": tuple(recipe["settings"]["channels"])}
        )
        == SETTINGS
    )
    assert recipe["data"]["what"] == "noise"
    assert recipe["parameters"] == sum(value.numel() for value in weights(folder).values())
    assert (folder / "samples.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="already holds a network"):
        train_generator(pictures(), SETTINGS, folder=folder)


def test_labels_decide_the_image(tmp_path: Path) -> None:
    bright = torch.tensor([0, 1]).repeat(8)
    images = (bright - 0.5)[:, None, None, None].expand(-1, 3, 8, 8).clone()
    settings = replace(
        SETTINGS, steps=90, batch_size=8, learning_rate=2e-2, ema=0.9, checkpoint_every=90
    )
    for name, labels in {
        "classes": bright,
        "vectors": torch.stack([bright.float(), 1 - bright.float()], dim=1),
    }.items():
        model = load_generator(
            train_generator(images, settings, folder=tmp_path / name, labels=labels)
        )
        made = sample(model, 2, seed=0, steps=5, labels=labels[:2]).mean(dim=(1, 2, 3))
        assert made[1] - made[0] > 0.5, name
        with pytest.raises(InputError, match="needs labels"):
            sample(model, 2, seed=0, steps=2)
        with pytest.raises(InputError, match=r"takes vectors|has classes"):
            sample(model, 2, seed=0, steps=2, labels=torch.tensor([7, 8]))


def test_vectors_are_padded_and_classes_have_one_more_for_none() -> None:
    assert build_network(SETTINGS, (1, 8, 8), 3, None).config.num_class_embeds == 4
    vectors = build_network(SETTINGS, (1, 8, 8), None, 2)
    assert torch.equal(
        prepared_labels(vectors, torch.tensor([[1.0, 2.0]]))[0, :3], torch.tensor([1.0, 2.0, 0.0])
    )


def test_the_loss_is_the_same_in_every_terms() -> None:
    retained = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)
    snr = retained / (1 - retained)
    clean = loss_weights(retained, GeneratorSettings())
    assert torch.allclose(clean, torch.tensor([5.25, 1.25, 0.5], dtype=torch.float64))
    # Of one guess, v errs by x₀'s error over √(1 − ᾱ).
    assert torch.allclose(
        loss_weights(retained, GeneratorSettings(prediction="v_prediction")) / (1 - retained), clean
    )
    noise = loss_weights(retained, GeneratorSettings(prediction="epsilon", schedule="linear"))
    assert torch.allclose((noise - 0.25) * snr, clean - 0.25)


def test_the_rate_warms_up_and_decays_to_zero() -> None:
    settings = GeneratorSettings(steps=100, warm_up=10)
    assert [rate(step, settings) for step in (0, 9, 10, 55, 100)] == pytest.approx(
        [0.1, 1.0, 1.0, 0.5, 0.0]
    )


def test_another_run_is_not_mixed_in(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train_generator(pictures(), SETTINGS, folder=tmp_path, progress=interrupting(3))
    with pytest.raises(InputError, match="has other settings"):
        train_generator(pictures(), replace(SETTINGS, learning_rate=1e-3), folder=tmp_path)
    with pytest.raises(InputError, match="has other data"):
        train_generator(pictures(seed=9), SETTINGS, folder=tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(b"broken")
    with pytest.raises(UnavailableError, match="delete it to train from the start"):
        train_generator(pictures(), SETTINGS, folder=tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda folder: train_generator(pictures() / 2 + 0.5, SETTINGS, folder=folder),
            "give them from -1 to 1",
        ),
        (
            lambda folder: train_generator(pictures() * 3, SETTINGS, folder=folder),
            "give them from -1 to 1",
        ),
        (
            lambda folder: train_generator(pictures()[:, :, :7], SETTINGS, folder=folder),
            "7 × 8 do not fit 3 levels",
        ),
        (
            lambda folder: train_generator(
                pictures(), SETTINGS, folder=folder, labels=torch.zeros(3, dtype=torch.long)
            ),
            "3 labels were given",
        ),
        (lambda folder: GeneratorSettings(prediction="epsilon"), "divides by 5e-5"),
        (lambda folder: GeneratorSettings(channels=(6, 8)), "give multiples"),
        (lambda folder: GeneratorSettings(skip_dropout=1.0), "skip_dropout is 1.0"),
        (lambda folder: GeneratorSettings(steps=0), "steps is 0"),
    ],
)
def test_wrong_arguments_get_one_line(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        call(tmp_path / "made")
