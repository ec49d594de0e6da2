"""Networks of others: folders that diffusers saved, without labels, with classes and with texts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)
from small_generator import brightness
from torch import Tensor

import interp
from interp.core import InputError, UnavailableError
from interp.diffusion.bottleneck.interchange import interchange
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.edits.inversion import invert
from interp.diffusion.edits.straight import Edit, sample_edited
from interp.diffusion.records.activations import StepActivations, record_steps
from interp.diffusion.sampling.ddim import sample, timesteps
from interp.diffusion.sampling.guided import guided
from interp.diffusion.sampling.prompted import prompted, text_condition
from interp.models import SamplingPlan, UNetModel

STEPS = 3
PROMPTS = ("a red circle", "a blue square")
WORDS = ("a", "red", "blue", "circle", "square")


@pytest.fixture(autouse=True)
def same_weights() -> Iterator[None]:
    """Networks of diffusers draw their weights from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def parts(
    channels: int = 3, *, middle: str = "", size: Any = 8, attention: bool = True
) -> dict[str, Any]:
    """Two levels, of types that this package does not build itself."""
    named = "CrossAttn" if middle else "Attn"
    return {
        "sample_size": size,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": (4, 8),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "attention_head_dim": 2,
        "down_block_types": ("DownBlock2D", f"{named}DownBlock2D" if attention else "DownBlock2D"),
        "up_block_types": (f"{named}UpBlock2D" if attention else "UpBlock2D", "UpBlock2D"),
    }


def scheduler(kind: type[Any] = DDIMScheduler, **changed: Any) -> Any:
    return kind(
        **{
            "beta_schedule": "linear",
            "prediction_type": "epsilon",
            "clip_sample": False,
            "timestep_spacing": "trailing",
            **changed,
        }
    )


def random_directions(acts: StepActivations, seed: int = 3) -> StepDirections:
    drawn = torch.randn(1, *acts.values.shape[1:], generator=torch.Generator().manual_seed(seed))
    return directions_like(acts, drawn, ("d",), "by hand")


def went_through(model: UNetModel, channels: int, labels: Tensor | None = None) -> None:
    """Recorded, interchanged and edited: with the numbers that are known whatever the network
    is.
    """
    labels_of = {
        count: None if labels is None else labels.repeat(count)[:count] for count in (2, 8)
    }
    acts = record_steps(model, 2, seed=1, steps=STEPS, labels=labels_of[2])
    assert acts.values.shape == (2, STEPS, 8, 4, 4)
    assert acts.images.shape == (2, channels, 8, 8)
    table = interchange(model, brightness, pairs=8, seed=0, steps=STEPS, labels=labels_of[8])
    assert {row.factor for row in table.rows} == {"mean", "lean"}
    assert table.unchanged < 1e-5, "its own values in place of its own change nothing"
    edit = Edit(random_directions(acts), (2.0,))
    made = sample_edited(model, 2, edit, seed=1, steps=STEPS, labels=labels_of[2])
    assert float((made - acts.images).abs().max()) > 1e-3
    nothing = sample_edited(
        model, 2, Edit(edit.directions, (0.0,)), seed=1, steps=STEPS, labels=labels_of[2]
    )
    assert torch.allclose(nothing, acts.images, atol=1e-5)


@pytest.mark.parametrize("pipeline", [DDPMPipeline, DDIMPipeline])
def test_an_unconditional_pipeline(tmp_path: Path, pipeline: type[Any]) -> None:
    kind = DDPMScheduler if pipeline is DDPMPipeline else DDIMScheduler
    module = UNet2DModel(**parts()).eval()
    pipeline(unet=module, scheduler=scheduler(kind)).save_pretrained(tmp_path / "saved")
    model = interp.load_model(tmp_path / "saved")
    assert isinstance(model, UNetModel)
    assert (model.scheduler.config.prediction_type, model.scheduler.config.beta_schedule) == (
        "epsilon",
        "linear",
    )
    assert timesteps(model, STEPS) == timesteps(UNetModel(module, scheduler()), STEPS)
    assert torch.allclose(
        sample(model, 2, seed=0, steps=STEPS),
        sample(UNetModel(module, scheduler()), 2, seed=0, steps=STEPS),
        atol=1e-5,
    )
    went_through(model, 3)


def test_the_hubs_ddpm_defaults_clip_and_are_told(tmp_path: Path) -> None:
    DDPMPipeline(unet=UNet2DModel(**parts()), scheduler=DDPMScheduler()).save_pretrained(
        tmp_path / "saved"
    )
    model = interp.load_model(tmp_path / "saved")
    assert model.scheduler.config.clip_sample
    with pytest.warns(UserWarning, match=r"clip_sample=True\); it is turned off here"):
        images = sample(model, 2, seed=0, steps=STEPS)
    open_ended = UNetModel(
        model.module, DDIMScheduler.from_config(model.scheduler.config, clip_sample=False)
    )
    assert torch.equal(images, sample(open_ended, 2, seed=0, steps=STEPS))


def test_a_network_of_classes(tmp_path: Path) -> None:
    module = UNet2DModel(**parts(), num_class_embeds=3).eval()
    DDIMPipeline(unet=module, scheduler=scheduler()).save_pretrained(tmp_path / "saved")
    model = interp.load_model(tmp_path / "saved")
    went_through(model, 3, torch.tensor([2]))
    with pytest.raises(InputError, match="needs labels"):
        record_steps(model, 2, seed=0, steps=STEPS)
    with pytest.raises(InputError, match="classes 0 to 2"):
        record_steps(model, 2, seed=0, steps=STEPS, labels=torch.tensor([0, 3]))
    one, other = (
        sample(model, 1, seed=0, steps=STEPS, labels=torch.tensor([label])) for label in (0, 2)
    )
    assert not torch.allclose(one, other, atol=1e-4), "control: the class reaches the network"


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channel_counts(tmp_path: Path, channels: int) -> None:
    DDIMPipeline(unet=UNet2DModel(**parts(channels)), scheduler=scheduler()).save_pretrained(
        tmp_path / "saved"
    )
    model = interp.load_model(tmp_path / "saved")
    went_through(model, channels)
    edit = Edit(random_directions(record_steps(model, 2, seed=0, steps=STEPS)), (1.0,))
    wide = UNet2DModel(**{**parts(channels), "block_out_channels": (4, 16)})
    with pytest.raises(InputError, match=r"directions are \(8, 4, 4\), mid holds \(16, 4, 4\)"):
        sample_edited(UNetModel(wide.eval(), scheduler()), 2, edit, seed=0, steps=STEPS)


def test_images_that_are_not_square(tmp_path: Path) -> None:
    DDIMPipeline(unet=UNet2DModel(**parts(size=(8, 16))), scheduler=scheduler()).save_pretrained(
        tmp_path / "saved"
    )
    model = interp.load_model(tmp_path / "saved")
    acts = record_steps(model, 2, seed=0, steps=STEPS)
    assert (acts.values.shape, acts.images.shape) == ((2, STEPS, 8, 4, 8), (2, 3, 8, 16))
    assert torch.allclose(
        sample_edited(model, 2, None, seed=0, steps=STEPS), acts.images, atol=1e-5
    )
    with pytest.raises(InputError, match=r"takes \(3, 8, 16\)"):
        invert(model, torch.zeros(2, 3, 16, 8), steps=STEPS)


def text_folder(folder: Path) -> Path:
    """What a text-to-image pipeline saves, with a tiny CLIP text encoder and a vocabulary of
    characters and five words.
    """
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = sorted({letter for word in WORDS for letter in word})
    merges = []
    for word in WORDS:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            merges.append(f"{pieces[0]} {pieces[1]}")
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    made = [merge.replace(" ", "") for merge in merges]
    names = dict.fromkeys(
        [
            *letters,
            *(f"{letter}</w>" for letter in letters),
            *made,
            "<|startoftext|>",
            "<|endoftext|>",
        ]
    )
    vocabulary = {name: place for place, name in enumerate(names)}
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *dict.fromkeys(merges)]) + "\n", encoding="utf-8"
    )
    tokenizer = CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8
    )
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
    )
    saved = folder / "pipeline"
    UNet2DConditionModel(**parts(4, middle="CrossAttn"), cross_attention_dim=12).save_pretrained(
        saved / "unet"
    )
    scheduler().save_pretrained(saved / "scheduler")
    CLIPTextModel(config).save_pretrained(saved / "text_encoder")
    tokenizer.save_pretrained(saved / "tokenizer")
    classes = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
    }
    (saved / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", **classes}), encoding="utf-8"
    )
    return saved


@torch.no_grad()
def conditions(folder: Path, prompts: tuple[str, ...] = PROMPTS) -> Tensor:
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    tokens = tokenizer(
        list(prompts), padding="max_length", max_length=8, truncation=True, return_tensors="pt"
    )
    hidden: Tensor = encoder(tokens.input_ids).last_hidden_state
    return hidden


def test_a_network_of_texts(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "texts")
    model = interp.load_model(folder)
    assert isinstance(model, UNetModel)
    texts = conditions(folder)
    assert texts.shape == (2, 8, 12)
    plan = SamplingPlan((0, 0), STEPS, texts)
    images = model.run(plan)
    assert not torch.allclose(images[0], images[1], atol=1e-4), (
        "control: the text reaches the network"
    )
    acts = interp.record(model, plan, "mid")
    assert acts.values.shape == (2 * STEPS * 16, 8)
    held: list[Tensor] = []
    model.run(plan, {"mid": lambda value, call: held.append(value.clone())})
    assert len(held) == STEPS
    same = model.run(plan, {"mid": lambda value, call: held[call.step]})
    assert torch.allclose(same, images, atol=1e-5), "interchange with itself"
    swapped = model.run(plan, {"mid": lambda value, call: held[call.step].flip(0)})
    assert not torch.allclose(swapped, images, atol=1e-4)
    edited = model.run(plan, {"mid": lambda value, call: value + 1.0})
    assert not torch.allclose(edited, images, atol=1e-4)
    with pytest.raises(InputError, match="needs conditions"):
        record_steps(model, 2, seed=0, steps=STEPS)


def test_a_network_told_a_text_is_one_without_conditions(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "texts")
    model = interp.load_model(folder)
    texts = conditions(folder)
    for text, prompt in zip(texts, PROMPTS, strict=True):
        found = text_condition(folder, prompt)
        assert torch.allclose(found, text, atol=1e-6)
        wanted = model.run(SamplingPlan((0, 1), STEPS, text.expand(2, -1, -1)))
        assert torch.allclose(
            prompted(model, found).run(SamplingPlan((0, 1), STEPS)), wanted, atol=1e-6
        )
    went_through(prompted(model, texts[0]), 4)
    red, blue = (sample(prompted(model, text), 2, seed=0, steps=STEPS) for text in texts)
    assert not torch.allclose(red, blue, atol=1e-4), "control: another text"
    pair = guided(prompted(model, texts[0]), 0.0, against=prompted(model, texts[1]))
    assert torch.allclose(sample(pair, 2, seed=0, steps=STEPS), blue, atol=1e-5), (
        "guidance of nothing is the other text"
    )
    went_through(guided(prompted(model, texts[0]), 4.0, against=prompted(model, texts[1])), 4)
    assert list(prompted(model, texts[0]).sites) == list(model.sites)
    assert all(not part._forward_hooks for part in model.module.modules())


def test_texts_that_do_not_fit_get_one_line(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "texts")
    model = interp.load_model(folder)
    with pytest.raises(InputError, match=r"7 numbers per token; .* takes \[12\]"):
        prompted(model, torch.zeros(8, 7))
    with pytest.raises(InputError, match="UNet2DModel, which takes no conditions"):
        prompted(UNetModel(UNet2DModel(**parts()), scheduler()), torch.zeros(8, 12))
    with pytest.raises(InputError, match="the prompt has 9 tokens, the encoder takes 8"):
        text_condition(folder, "a red circle a blue square a")
    with pytest.raises(
        UnavailableError, match="has no tokenizer; give the folder of a whole pipeline"
    ):
        text_condition(folder / "unet", "a")
