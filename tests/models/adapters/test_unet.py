"""UNets: sampling is diffusers' own, sites are its blocks, early stops compute no more than they
must.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler

import interp
from interp.capture import Add
from interp.core import InputError, UnavailableError
from interp.models import NoisedImages, UNetModel
from interp.models.adapters.unet import load_unet

CONDITIONS = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> UNetModel:
    return interp.wrap(tiny.unet())


@pytest.mark.parametrize("steps", [1, 4])
def test_sampling_is_that_of_the_pipeline(steps: int) -> None:
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=False)
    model = UNetModel(tiny.unet(), scheduler)
    with torch.no_grad():
        ours = model.run(interp.SamplingPlan(seeds=(3,), steps=steps))
    pipeline = DDIMPipeline(model.module, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        generator=torch.Generator().manual_seed(3),
        num_inference_steps=steps,
        eta=0.0,
        output_type="numpy",
    ).images
    ours = (ours / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    assert torch.allclose(ours, torch.from_numpy(theirs), atol=1e-5)
    assert ours.std() > 0.05, "control: not all one colour"


def test_a_seed_gives_its_image_in_every_batch(model: UNetModel) -> None:
    with torch.no_grad():
        together = model.run(interp.SamplingPlan(seeds=(5, 6), steps=2))
        alone = model.run(interp.SamplingPlan(seeds=(6,), steps=2))
    assert torch.allclose(together[1:], alone, atol=1e-4)
    assert not torch.allclose(together[:1], alone, atol=1e-2)


def test_the_schedule_of_another_scheduler_is_read(model: UNetModel) -> None:
    plan = interp.SamplingPlan(seeds=(0,), steps=3)
    ddpm = UNetModel(model.module, DDPMScheduler(beta_schedule="squaredcos_cap_v2"))
    ddim = UNetModel(model.module, DDIMScheduler(beta_schedule="squaredcos_cap_v2"))
    with torch.no_grad():
        assert torch.equal(ddpm.run(plan), ddim.run(plan))
        assert not torch.allclose(ddpm.run(plan), model.run(plan), atol=1e-3), (
            "control: the schedule matters"
        )


def test_looking_once_is_the_networks_own_answer(model: UNetModel) -> None:
    images = tiny.images(channels=1)
    with torch.no_grad():
        assert torch.equal(model.run(NoisedImages(images, 10)), model.module(images, 10).sample)
        conditional = interp.wrap(tiny.conditional_unet())
        looked = conditional.run(NoisedImages(tiny.images(2, channels=2), 10, CONDITIONS))
        assert torch.equal(
            looked,
            conditional.module(
                tiny.images(2, channels=2), 10, encoder_hidden_states=CONDITIONS
            ).sample,
        )


@pytest.mark.parametrize("network", [tiny.unet, tiny.conditional_unet])
def test_sites_have_the_stated_widths(network: Any) -> None:
    model = interp.wrap(network())
    plan = interp.SamplingPlan((0, 1), 1, CONDITIONS if network is tiny.conditional_unet else None)
    assert list(model.sites) == ["down0", "down1", "mid", "up0", "up1", "eps"]
    for site, acts in interp.record(model, plan, list(model.sites)).items():
        assert acts.values.shape[1] == model.sites.width(site), site


def test_stopping_early_computes_no_more_than_it_must(model: UNetModel) -> None:
    plan = interp.SamplingPlan(seeds=(0,), steps=3)
    with (
        tiny.seen(model.module.mid_block) as middle,
        tiny.seen(model.module.up_blocks[0]) as up,
        torch.no_grad(),
    ):
        assert model.run(plan, stop_after="mid") is None
        assert (len(middle), len(up)) == (3, 2)
        assert model.run(NoisedImages(tiny.images(channels=1), 10), stop_after="down0") is None
        assert len(middle) == 3
        assert model.run(plan) is not None
        assert (len(middle), len(up)) == (6, 5), "control"


def test_steps_are_told_to_hooks_inside_and_outside(model: UNetModel) -> None:
    inside, outside = [], []
    with model.hooked({"eps": lambda value, call: outside.append(call.step)}), torch.no_grad():
        model.run(
            interp.SamplingPlan(seeds=(0,), steps=3),
            {"mid": lambda value, call: inside.append(call.step)},
        )
        model.run(NoisedImages(tiny.images(channels=1), 10))
    assert inside == [0, 1, 2]
    assert outside == [0, 1, 2, 0]


def test_a_change_at_the_bottleneck_changes_the_image(model: UNetModel) -> None:
    plan = interp.SamplingPlan(seeds=(0,), steps=2)
    with torch.no_grad():
        before = model.run(plan)
        with interp.intervene(model, {"mid": Add(torch.ones(16))}):
            changed = model.run(plan)
        assert not torch.allclose(changed, before, atol=1e-3)
        with interp.intervene(model, {"mid": Add(torch.zeros(16))}):
            assert torch.equal(model.run(plan), before)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("text", "takes a SamplingPlan or NoisedImages, not str"),
        (interp.SamplingPlan(seeds=()), "no images were asked for"),
        (interp.SamplingPlan((0, 1), 1, CONDITIONS), "takes no conditions"),
        (interp.SamplingPlan((0,), 2000), "2000 sampling steps.*trained on 1000"),
    ],
)
def test_wrong_inputs_get_one_line(model: UNetModel, inputs: Any, message: str) -> None:
    for call in (model.run, lambda value: interp.record(model, value, "mid")):
        with pytest.raises(InputError, match=message):
            call(inputs)


def test_conditions_are_needed_one_per_image() -> None:
    model = interp.wrap(tiny.conditional_unet())
    with pytest.raises(InputError, match="needs conditions"):
        model.run(interp.SamplingPlan((0, 1), 1))
    with pytest.raises(InputError, match="2 conditions were given for 3 images"):
        model.run(interp.SamplingPlan((0, 1, 2), 1, CONDITIONS))
    with pytest.raises(InputError, match="0 sampling steps"):
        interp.SamplingPlan((0,), 0)


def test_unknown_sites_are_refused_with_the_nearest(model: UNetModel) -> None:
    with pytest.raises(InputError, match="unknown site 'middle'; nearest: mid"):
        interp.record(model, interp.SamplingPlan((0,), 1), "middle")


def test_a_site_is_there_or_not_without_an_error(model: UNetModel) -> None:
    assert "mid" in model.sites
    assert "middle" not in model.sites


@pytest.mark.parametrize(
    ("kind", "stated", "clips"),
    [
        ("PNDMScheduler", {}, False),
        ("DDPMScheduler", {}, True),
        ("DDPMScheduler", {"clip_sample": False}, False),
    ],
)
def test_only_what_clips_by_itself_clips(
    tmp_path: Path, model: UNetModel, kind: str, stated: dict[str, bool], clips: bool
) -> None:
    model.module.save_pretrained(tmp_path)
    (tmp_path / "scheduler").mkdir()
    config = {"_class_name": kind, "beta_schedule": "linear", "num_train_timesteps": 1000, **stated}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    assert load_unet(tmp_path).scheduler.config.clip_sample is clips


def test_flow_matching_is_refused(tmp_path: Path, model: UNetModel) -> None:
    model.module.save_pretrained(tmp_path)
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(
        json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler"})
    )
    with pytest.raises(UnavailableError, match="flow matching has no noise schedule"):
        load_unet(tmp_path)
