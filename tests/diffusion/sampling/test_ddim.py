"""Sampling and recording over steps: DDIM written out, batches that do not matter, windows, labels,
and a scheduler that must not clip.
"""

import pytest
import torch
from small_generator import pictures, untrained

from interp.core import InputError
from interp.diffusion.records.activations import record_sites, record_steps
from interp.diffusion.sampling.ddim import image_seeds, sample, timesteps, unclipped
from interp.diffusion.sampling.labels import labelled
from interp.models import SamplingPlan, UNetModel


@torch.no_grad()
def ddim(model: UNetModel, count: int, seed: int, steps: int) -> torch.Tensor:
    """Equation 12 of Song, Meng & Ermon (2021) with σ = 0, for a network that predicts the clean
    image.
    """
    alphas = model.scheduler.alphas_cumprod
    times = [round(1000 - i * 1000 / steps) - 1 for i in range(steps)]
    images = torch.stack(
        [
            torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(s))
            for s in image_seeds(count, seed)
        ]
    )
    for now, after in zip(times, [*times[1:], -1], strict=True):
        clean = model.module(images, now).sample
        noise = (images - alphas[now].sqrt() * clean) / (1 - alphas[now]).sqrt()
        kept = alphas[after] if after >= 0 else torch.tensor(1.0)
        images = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    return images


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_sampling_is_ddim_written_out(steps: int) -> None:
    model = untrained()
    assert torch.allclose(
        sample(model, 3, seed=4, steps=steps), ddim(model, 3, 4, steps), atol=1e-4
    )
    assert timesteps(model, 5) == (999, 799, 599, 399, 199)


def test_seeds_and_batches() -> None:
    model = untrained()
    whole, parts = (
        sample(model, 5, seed=1, steps=3),
        sample(model, 5, seed=1, steps=3, batch_size=2),
    )
    assert torch.allclose(whole, parts, atol=1e-5)
    assert not torch.allclose(whole, sample(model, 5, seed=2, steps=3), atol=1e-2)
    assert not set(image_seeds(1000, 0)) & set(image_seeds(1000, 1))


def test_recorded_is_what_the_bottleneck_held() -> None:
    model = untrained()
    seen: list[torch.Tensor] = []
    handle = model.module.mid_block.register_forward_hook(
        lambda part, args, output: seen.append(output.clone())
    )
    acts = record_steps(model, 3, seed=2, steps=4)
    handle.remove()
    assert acts.values.shape == (3, 4, 8, 2, 2)
    assert torch.equal(acts.values, torch.stack(seen, dim=1))
    assert torch.equal(acts.images, sample(model, 3, seed=2, steps=4))
    batched = record_steps(model, 3, seed=2, steps=4, batch_size=2)
    assert torch.allclose(batched.values, acts.values, atol=1e-5)


def test_windows_are_parts_of_the_whole() -> None:
    model = untrained()
    whole = record_steps(model, 2, seed=0, steps=4)
    part = record_steps(model, 2, seed=0, steps=4, window=range(1, 3))
    assert torch.equal(part.values, whole.values[:, 1:3])
    assert torch.equal(whole.within(range(1, 3)).values, part.values)
    assert (part.steps, part.timesteps) == ((1, 2), timesteps(model, 4)[1:3])
    with pytest.raises(InputError, match="step 0 was not recorded"):
        part.within(range(2))
    with pytest.raises(InputError, match="does not lie within the sampler's 4 steps"):
        record_steps(model, 2, seed=0, steps=4, window=range(2, 6))


def test_several_sites_and_changes_elsewhere() -> None:
    model = untrained()
    both = record_sites(model, 2, ["mid", "up0"], seed=0, steps=2)
    changed = record_sites(
        model,
        2,
        ["up0"],
        seed=0,
        steps=2,
        hooks={"mid": lambda value, call: torch.zeros_like(value)},
    )
    assert not torch.allclose(both["up0"].values, changed["up0"].values, atol=1e-4)
    with pytest.raises(InputError, match="changed and recorded at once"):
        record_sites(model, 2, ["mid"], seed=0, steps=2, hooks={"mid": lambda value, call: None})


def test_labels_reach_each_image_of_every_batch() -> None:
    model = untrained(classes=3)
    labels = torch.tensor([0, 1, 2, 1])
    whole = sample(model, 4, seed=0, steps=2, labels=labels)
    assert torch.allclose(
        sample(model, 4, seed=0, steps=2, labels=labels, batch_size=3), whole, atol=1e-5
    )
    with torch.no_grad(), labelled(model.module, labels[:1]):
        named = model.module(pictures(1), 10).sample
    with torch.no_grad():
        assert torch.equal(named, model.module(pictures(1), 10, class_labels=labels[:1]).sample)
        assert not torch.equal(
            named, model.module(pictures(1), 10, class_labels=labels[1:2]).sample
        ), "control"
    with pytest.raises(InputError, match="takes no labels"):
        sample(untrained(), 4, seed=0, steps=2, labels=labels)


def test_clipping_is_turned_off_aloud() -> None:
    model = untrained()
    clips = UNetModel(
        model.module,
        type(model.scheduler).from_config(
            model.scheduler.config, clip_sample=True, clip_sample_range=0.01
        ),
    )
    with pytest.warns(UserWarning, match="clip_sample=True"):
        images = sample(clips, 2, seed=0, steps=3)
    assert torch.equal(images, sample(model, 2, seed=0, steps=3))
    with torch.no_grad():
        clipped = clips.run(SamplingPlan(image_seeds(2, 0), 3))
    assert not torch.allclose(images, clipped, atol=1e-3), "control: clipping changes the images"
    with pytest.raises(InputError, match="has no scheduler"):
        unclipped(UNetModel(model.module))


def test_seeds_that_torch_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(InputError, match="give 0 to 4293"):
        image_seeds(4, 4294)
    assert image_seeds(1, 4293)[0] < 2**32
