"""From a folder to a model, and one line where there is no way."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import tiny
import torch
from diffusers import DDIMPipeline, DDPMScheduler
from transformers import BertConfig, BertModel

import interp
from interp.core import InputError, InterpError, UnavailableError
from interp.models import SentenceEncoder, TransformerModel, UNetModel, load_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_saved_language_model_comes_back(folder: Path, name: str) -> None:
    module = tiny.language(name)
    path = tiny.save(module, folder / name)
    for given in (path, str(path)):
        model = interp.load_model(given)
        assert isinstance(model, TransformerModel)
        ids = torch.tensor([[5, 9, 40]])
        with torch.no_grad():
            assert torch.equal(model.run(ids), module(ids).logits)
    text = tiny.SENTENCES[0]
    assert model.generate(text, max_new_tokens=3) == interp.wrap(module, tiny.tokenizer()).generate(
        text, max_new_tokens=3
    )
    assert not model.module.training
    half = interp.load_model(path, dtype="bfloat16")
    assert {parameter.dtype for parameter in half.module.parameters()} == {torch.bfloat16}
    assert half.weight_hash == model.weight_hash, "the hash is of the file"


def test_a_name_without_a_slash_is_a_folder_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.save(tiny.language("gpt2"), folder / "mine")
    monkeypatch.chdir(folder)
    assert isinstance(interp.load_model("mine"), TransformerModel)


@pytest.mark.parametrize("pipeline", [True, False])
def test_a_saved_unet_comes_back(folder: Path, pipeline: bool) -> None:
    module, scheduler = tiny.unet(), DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    path = folder / f"unet-{pipeline}"
    if pipeline:
        DDIMPipeline(module, scheduler).save_pretrained(path)
    else:
        module.save_pretrained(path)
    model = interp.load_model(path)
    assert isinstance(model, UNetModel)
    plan = interp.SamplingPlan((0,), 2)
    with torch.no_grad():
        expected = UNetModel(module, scheduler if pipeline else None).run(plan)
        assert torch.allclose(model.run(plan), expected, atol=1e-3)
    assert model.name == path.name
    assert interp.load_model(str(path), dtype="float16").module.dtype == torch.float16


def test_a_model_is_called_by_its_folder_and_not_by_the_way_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tiny.save(tiny.language("gpt2"), folder / "somewhere" / "mine")
    monkeypatch.chdir(own.parent)
    for way in (own, f"{own}/", "mine", "./mine", "../somewhere/mine", Path("mine")):
        assert interp.load_model(way).name == "mine", way
    monkeypatch.chdir(own)
    assert interp.load_model(".").name == "mine"
    assert interp.load_model(".").weight_hash == interp.load_model(own).weight_hash
    cached = tiny.save(
        tiny.language("gpt2"), folder / "models--somebody--something" / "snapshots" / "0123abcd"
    )
    assert interp.load_model(cached).name == "somebody/something"


def test_what_cannot_be_loaded_gets_one_line(folder: Path) -> None:
    empty = folder / "empty"
    empty.mkdir()
    broken = tiny.save(tiny.language("gpt2"), folder / "broken")
    (broken / "config.json").write_text('{"model_type": "gpt2", ')
    short = tiny.save(tiny.language("gpt2"), folder / "short")
    (short / "model.safetensors").write_bytes((short / "model.safetensors").read_bytes()[:5000])
    odd = tiny.save(tiny.language("gpt2"), folder / "odd")
    (odd / "config.json").write_text(
        json.dumps({"model_type": "nothing-known", "architectures": ["NothingForCausalLM"]})
    )
    unet = folder / "short unet"
    tiny.unet().save_pretrained(unet)
    weights = next(unet.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:5000])
    for path in (unet, empty, broken, short, odd, folder / "nowhere"):
        with pytest.raises(InterpError) as caught:
            interp.load_model(path)
        assert isinstance(caught.value, UnavailableError)
        assert "\n" not in str(caught.value), path
        assert path.name in str(caught.value)


def test_unknown_number_formats_are_refused() -> None:
    with pytest.raises(InputError, match="unknown dtype 'float23'; nearest: float32"):
        interp.load_model("anything", dtype="float23")


def test_an_encoder_gives_unit_means(folder: Path) -> None:
    config = BertConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    module = BertModel(config).eval()
    path = tiny.save(module, folder / "bert")
    encoder = load_encoder(str(path))
    assert isinstance(encoder, SentenceEncoder)
    texts = ["The sea", "was calm and the ships lay still."]
    found = encoder.encode(texts)
    for row, text in zip(found, texts, strict=True):
        with torch.no_grad():
            mean = (
                module(torch.tensor([tiny.tokenizer()(text)["input_ids"]]))
                .last_hidden_state[0]
                .mean(dim=0)
            )
        assert torch.allclose(row, mean / mean.norm(), atol=1e-5)


def test_a_language_model_without_all_its_weights_is_refused(folder: Path) -> None:
    path = tiny.save(tiny.language("llama"), folder / "incomplete")
    weights = safetensors.torch.load_file(path / "model.safetensors")
    kept = {
        name: tensor for name, tensor in weights.items() if "layers.1.mlp.down_proj" not in name
    }
    assert len(kept) == len(weights) - 1
    safetensors.torch.save_file(kept, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UnavailableError, match=r"layers\.1\.mlp\.down_proj"):
        interp.load_model(path)
