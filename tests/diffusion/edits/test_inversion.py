"""Inversion: exact where it must be, better with refinements; codes reproduce their images and
carry over to another network.
"""

import pytest
import torch
from small_generator import SETTINGS, pictures, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import directions_like
from interp.diffusion.edits.dpm_encoder import decode_code, encode, translate
from interp.diffusion.edits.inversion import decode, invert
from interp.diffusion.edits.straight import Edit
from interp.diffusion.records.activations import record_steps
from interp.diffusion.sampling.ddim import sample
from interp.diffusion.sampling.levels import noise_levels
from interp.models import UNetModel
from interp.testbeds.generators.network import GeneratorSettings, Prediction

STEPS = 5


class Gaussian(torch.nn.Module):
    """The exact answer for data that is Gaussian noise of sd `spread` around `center`:
    `E[x₀ | x_t]`.
    """

    def __init__(
        self, module: torch.nn.Module, alphas: Tensor, center: float, spread: float
    ) -> None:
        super().__init__()
        self.down_blocks, self.up_blocks = torch.nn.ModuleList(), torch.nn.ModuleList()
        self.mid_block = torch.nn.Identity()
        self.config, self.device, self.dtype = module.config, module.device, module.dtype
        self.alphas, self.center, self.spread = alphas, center, spread

    def forward(self, images: Tensor, timestep: Tensor) -> object:
        from diffusers.models.unets.unet_2d import UNet2DOutput

        alpha = self.alphas[int(timestep)]
        gain = alpha.sqrt() * self.spread**2 / (alpha * self.spread**2 + 1 - alpha)
        return UNet2DOutput(
            sample=self.center + gain * (self.mid_block(images) - alpha.sqrt() * self.center)
        )


def gaussian(center: float = 0.0, spread: float = 0.4) -> UNetModel:
    model = untrained()
    return UNetModel(
        Gaussian(model.module, model.scheduler.alphas_cumprod, center, spread), model.scheduler
    )


def predicting(prediction: Prediction) -> UNetModel:
    schedule = "linear" if prediction == "epsilon" else "cosine"
    return untrained(
        GeneratorSettings(
            channels=SETTINGS.channels, groups=2, prediction=prediction, schedule=schedule
        )
    )


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "v_prediction"])
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_codes_are_exact(prediction: Prediction, eta: float) -> None:
    model = predicting(prediction)
    images = pictures(4, seed=3)
    code = encode(model, images, seed=1, steps=STEPS, eta=eta)
    assert float((decode_code(model, code) - images).abs().max()) <= 1e-4
    assert float((decode_code(model, code, with_rest=False) - images).abs().max()) > 1e-3, (
        "control: the last step alone is not exact"
    )
    assert code.noises.shape == (STEPS - 1, 4, 3, 8, 8)


def test_code_noise_is_standard_for_the_right_network() -> None:
    model = gaussian()
    images = (0.4 * torch.randn(256, 3, 8, 8, generator=torch.Generator().manual_seed(0))).clamp(
        -1.4, 1.4
    )
    sd = encode(model, images, steps=50).noise_sd
    # Large steps near the end hold some of what the image is not yet known to be.
    assert sd[:35].tolist() == pytest.approx([1.0] * 35, abs=0.05)


def test_translation_moves_what_the_networks_differ_in() -> None:
    dark, bright = gaussian(center=-0.4, spread=0.2), gaussian(center=0.3, spread=0.2)
    images = -0.4 + 0.2 * torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    moved = translate(dark, images, target=bright, steps=20)
    assert float(moved.mean() - images.mean()) == pytest.approx(0.7, abs=0.02)
    kept = torch.corrcoef(torch.stack([moved.flatten(), images.flatten()]))[0, 1]
    assert float(kept) > 0.85
    assert torch.allclose(translate(dark, images, steps=20), images, atol=1e-4)


def test_translation_between_conditions() -> None:
    model = untrained(classes=2)
    images, zeros, ones = (
        pictures(3),
        torch.zeros(3, dtype=torch.long),
        torch.ones(3, dtype=torch.long),
    )
    assert torch.allclose(
        decode_code(model, encode(model, images, steps=STEPS, labels=zeros), labels=zeros),
        images,
        atol=1e-4,
    )
    assert not torch.allclose(
        translate(model, images, labels=zeros, to=ones, steps=STEPS), images, atol=1e-2
    )


def test_inversion_of_a_known_network() -> None:
    # Every deterministic step of a Gaussian's sampler multiplies: the way back is exact after
    # enough refinements.
    model = gaussian()
    images = 0.3 * pictures(4)
    errors = [
        float(invert(model, images, steps=10, refinements=r).error.mean()) for r in (0, 2, 60)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-8
    assert float(invert(model, images, steps=200).error.mean()) < 0.1 * errors[0], (
        "more steps, less error"
    )


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "v_prediction"])
def test_inversion_agrees_with_decoding(prediction: Prediction) -> None:
    model = predicting(prediction)
    images = sample(model, 3, seed=0, steps=STEPS).clamp(-1, 1)
    found = invert(model, images, steps=STEPS, refinements=3)
    made = decode(model, found.noise, steps=STEPS)
    assert torch.allclose((made - images).square().flatten(1).mean(dim=1), found.error, atol=1e-6)
    assert torch.equal(found.path[0], found.noise)
    assert len(found.path) == STEPS
    assert bool(found.noise.isfinite().all())


def test_plain_inversion_is_the_one_of_diffusers() -> None:
    from diffusers import DDIMInverseScheduler

    model = predicting("epsilon")
    inverse = DDIMInverseScheduler.from_config(model.scheduler.config)
    inverse.set_timesteps(STEPS)
    images = pictures(2)
    for time in inverse.timesteps:
        with torch.no_grad():
            images = inverse.step(model.module(images, time).sample, time, images).prev_sample
    assert tuple(int(t) for t in inverse.timesteps)[::-1] == noise_levels(model, STEPS).timesteps
    assert torch.allclose(invert(model, pictures(2), steps=STEPS).noise, images, atol=1e-3)


def test_wrong_images_get_one_line() -> None:
    model = untrained()
    with pytest.raises(InputError, match=r"takes \(3, 8, 8\)"):
        invert(model, torch.zeros(2, 3, 4, 4), steps=2)
    with pytest.raises(InputError, match="give them from -1 to 1"):
        encode(model, pictures(2).abs(), steps=2)
    with pytest.raises(InputError, match="eta is 0"):
        encode(model, pictures(2), steps=2, eta=0.0)


def test_a_code_from_a_later_step_is_exact_too_and_can_be_edited() -> None:
    model = untrained()
    images = pictures(3)
    code = encode(model, images, steps=5, first=2)
    assert len(code.noises) == 2
    assert float((decode_code(model, code) - images).abs().max()) < 1e-4
    acts = record_steps(model, 2, seed=0, steps=5)
    direction = directions_like(acts, torch.ones(1, *acts.values.shape[1:]), ("up",), "by hand")
    edited = decode_code(model, code, edit=Edit(direction, (1.0,)))
    assert float((edited - images).abs().max()) > 1e-3
    assert torch.allclose(
        decode_code(model, code, edit=Edit(direction, (0.0,))), decode_code(model, code)
    )
    with pytest.raises(InputError, match="begin at step 5 of 5"):
        encode(model, images, steps=5, first=5)
    with pytest.raises(InputError, match="sample with the same steps"):
        decode_code(model, encode(model, images, steps=4), edit=Edit(direction, (1.0,)))


def test_one_or_two_steps_are_undone_without_dividing_by_nothing() -> None:
    model = untrained()
    for steps in (1, 2):
        found = invert(model, pictures(2), steps=steps, refinements=1)
        assert bool(found.noise.isfinite().all())
