"""Networks in other terms give the same edits; missing parts, and images and directions that do not
fit, are refused.
"""

import re
import warnings

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from small_generator import SETTINGS, by_hand, pictures, untrained
from torch import Tensor, nn

from interp.core import InputError
from interp.diffusion.bottleneck.interchange import interchange
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.edits.dpm_encoder import decode_code, encode
from interp.diffusion.edits.inversion import invert
from interp.diffusion.edits.straight import Edit, Rule, sample_edited
from interp.diffusion.records.activations import record_steps
from interp.diffusion.sampling.ddim import sample
from interp.models import UNetModel
from interp.testbeds.generators.network import GeneratorSettings, Prediction

STEPS = 4
LINEAR = GeneratorSettings(channels=SETTINGS.channels, groups=2, schedule="linear")


class Converted(nn.Module):
    """The same network in other terms: what it says of the clean image x₀ is told as noise or as v.

    With `x = √ᾱ x₀ + √(1 − ᾱ) ε`: `ε = (x − √ᾱ x₀) / √(1 − ᾱ)` and `v = √ᾱ ε − √(1 − ᾱ) x₀`
    (Salimans & Ho 2022).
    """

    def __init__(self, model: UNetModel, prediction: Prediction) -> None:
        super().__init__()
        self.inner, self.prediction = model.module, prediction
        self.down_blocks, self.mid_block, self.up_blocks = (
            self.inner.down_blocks,
            self.inner.mid_block,
            self.inner.up_blocks,
        )
        self.alphas = model.scheduler.alphas_cumprod.double()

    @property
    def config(self) -> object:
        return self.inner.config

    @property
    def device(self) -> torch.device:
        return self.inner.device

    @property
    def dtype(self) -> torch.dtype:
        return self.inner.dtype

    def forward(self, images: Tensor, timestep: Tensor) -> UNet2DOutput:
        clean = self.inner(images, timestep).sample
        root, rest = self.alphas[timestep].sqrt(), (1 - self.alphas[timestep]).sqrt()
        noise = (images - root * clean) / rest
        answers = {"sample": clean, "epsilon": noise, "v_prediction": root * noise - rest * clean}
        return UNet2DOutput(sample=answers[self.prediction])


def converted(prediction: Prediction) -> UNetModel:
    """In float64: noise of a nearly clean image is a small difference of large numbers."""
    model = untrained(LINEAR)
    model.module.double()
    scheduler = type(model.scheduler).from_config(
        model.scheduler.config, prediction_type=prediction
    )
    return UNetModel(Converted(model, prediction), scheduler)


def drawn_directions(model: UNetModel) -> StepDirections:
    acts = record_steps(model, 2, seed=5, steps=STEPS)
    drawn = torch.randn(1, *acts.values.shape[1:], generator=torch.Generator().manual_seed(3)).to(
        acts.values
    )
    return directions_like(acts, drawn, ("d",), "by hand")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("rule", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_same_network_in_other_terms_gives_the_same_edits(
    prediction: Prediction, rule: Rule, eta: float
) -> None:
    clean, other = converted("sample"), converted(prediction)
    assert torch.allclose(
        sample(clean, 2, seed=1, steps=STEPS), sample(other, 2, seed=1, steps=STEPS), atol=1e-5
    )
    edit = Edit(drawn_directions(clean), (1.5,), rule=rule)
    wanted, made = (
        sample_edited(model, 2, edit, seed=1, steps=STEPS, eta=eta) for model in (clean, other)
    )
    assert torch.allclose(made, wanted, atol=1e-5)
    plain = sample_edited(clean, 2, None, seed=1, steps=STEPS, eta=eta)
    assert float((wanted - plain).abs().max()) > 1e-3, "control: the edit does something"
    mistaken = UNetModel(other.module, clean.scheduler)
    assert not torch.allclose(
        sample_edited(mistaken, 2, edit, seed=1, steps=STEPS, eta=eta), wanted, atol=1e-2
    ), "control: terms matter"


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_same_network_in_other_terms_gives_the_same_inversion(prediction: Prediction) -> None:
    images = pictures(2).double()
    wanted, made = (
        invert(converted(kind), images, steps=STEPS).noise for kind in ("sample", prediction)
    )
    assert torch.allclose(made, wanted, atol=1e-5)
    model = converted(prediction)
    assert torch.allclose(
        decode_code(model, encode(model, images, steps=STEPS, seed=0)), images, atol=1e-4
    )


def without_middle() -> UNetModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = UNet2DModel(
            sample_size=8,
            block_out_channels=(4, 8),
            layers_per_block=1,
            norm_num_groups=2,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            mid_block_type=None,
        )
    return UNetModel(module.eval(), untrained().scheduler)


def test_a_network_without_a_mid_block_is_told_so_and_its_other_sites_work() -> None:
    model = without_middle()
    assert list(model.sites) == ["down0", "down1", "up0", "up1", "eps"]
    with pytest.raises(InputError, match="unknown site 'mid'"):
        record_steps(model, 2, seed=0, steps=STEPS)
    with pytest.raises(InputError, match="unknown site 'mid'"):
        interchange(
            model, lambda images: {"mean": images.mean(dim=(1, 2, 3))}, pairs=8, steps=STEPS
        )
    with pytest.raises(InputError, match="unknown site 'mid'"):
        sample_edited(model, 2, Edit(drawn_directions(untrained()), (1.0,)), seed=0, steps=STEPS)
    acts = record_steps(model, 2, "up0", seed=0, steps=STEPS)
    shift = directions_like(acts, torch.ones(1, *acts.values.shape[1:]), ("d",), "by hand")
    assert not torch.allclose(
        sample_edited(model, 2, Edit(shift, (1.0,)), seed=0, steps=STEPS), acts.images, atol=1e-3
    )


@pytest.mark.parametrize("rule", ["symmetric", "asymmetric"])
def test_clipping_is_turned_off_in_an_edit_and_in_an_inversion(rule: Rule) -> None:
    model = by_hand()
    clips = UNetModel(
        model.module,
        type(model.scheduler).from_config(
            model.scheduler.config, clip_sample=True, clip_sample_range=1.0
        ),
    )
    acts = record_steps(model, 2, seed=0, steps=2)
    values = torch.zeros(1, *acts.values.shape[1:])
    values[0, -1] = 5.0
    edit = Edit(directions_like(acts, values, ("d",), "by hand"), (1.0,), rule=rule)
    with pytest.warns(UserWarning, match=r"clip_sample=True\); it is turned off here"):
        made = sample_edited(clips, 2, edit, seed=0, steps=2)
    assert torch.allclose(made, acts.images + 5, atol=1e-4), "clipped it would be 1"
    with pytest.warns(UserWarning, match="it is turned off here"):
        there = invert(clips, pictures(2), steps=STEPS).noise
    assert torch.equal(there, invert(model, pictures(2), steps=STEPS).noise)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample_edited(model, 2, edit, seed=0, steps=2)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 3, 16, 16),
        torch.zeros(2, 3, 8, 4),
        torch.zeros(2, 1, 8, 8),
        torch.zeros(2, 4, 8, 8),
    ],
)
def test_images_of_another_size_are_refused(images: Tensor) -> None:
    wanted = re.escape("(3, 8, 8)")
    with pytest.raises(InputError, match=wanted):
        invert(untrained(), images, steps=2)
    with pytest.raises(InputError, match=wanted):
        encode(untrained(), images, steps=2)


@pytest.mark.parametrize("images", [(pictures(2) + 1) / 2, (pictures(2) + 1) * 127.5])
def test_images_of_another_range_are_refused(images: Tensor) -> None:
    for refused in (invert, encode):
        with pytest.raises(InputError, match="give them from -1 to 1"):
            refused(untrained(), images, steps=2)


def test_directions_found_with_other_steps_are_refused() -> None:
    model = untrained()
    directions = drawn_directions(model)
    for steps in (2, 5, 8):
        with pytest.raises(InputError, match="the directions were found with 4 steps"):
            sample_edited(model, 2, Edit(directions, (1.0,)), seed=0, steps=steps)
    config = model.scheduler.config
    for changed in ({"timestep_spacing": "leading"}, {"num_train_timesteps": 500}):
        other = UNetModel(model.module, type(model.scheduler).from_config(config, **changed))
        with pytest.raises(InputError, match="sample with the same steps, or find them again"):
            sample_edited(other, 2, Edit(directions, (1.0,)), seed=0, steps=STEPS)
