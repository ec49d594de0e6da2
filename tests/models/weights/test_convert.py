"""A `.gguf` file becomes a folder that computes the same numbers; a folder of the cache is made
whole, once, or not at all.
"""

import json
from threading import Barrier, Thread

import pytest
import torch
from fake_weights import FILES, sha256, tiny_llama, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from interp.core import UnavailableError
from interp.models.weights.convert import convert_gguf, fill_once

FACTS = {"name": "m", "kind": "encoder", "source": "test", "source_sha256": "0"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def fill(folder):
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


def test_a_converted_llama_computes_what_the_original_computes(tmp_path, cache, capfd):
    original = tiny_llama()
    path = write_gguf(tmp_path / "tiny.gguf", original)
    folder = convert_gguf(path)
    assert folder.parent == cache
    assert capfd.readouterr() == ("", "")

    converted = AutoModelForCausalLM.from_pretrained(folder)
    tokens = torch.arange(12).reshape(1, -1)
    with torch.no_grad():
        expected, found = original(tokens).logits, converted(tokens).logits
        # The control: swapping the rotary halves of one head's queries, the mistake a conversion
        # can make, is seen.
        query = converted.model.layers[0].self_attn.q_proj.weight
        query[:8] = torch.cat([query[4:8], query[:4]])
        spoiled = converted(tokens).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (spoiled - expected).abs().max() > 1e-2

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("the th").input_ids) == ["the", "Ġ", "th"]
    note = json.loads((folder / "interp.json").read_text())
    assert note["source_sha256"] == sha256(path.read_bytes())
    assert note["weight_hash"] == sha256((folder / "model.safetensors").read_bytes())


def test_a_second_conversion_returns_the_first_and_other_content_gets_another_name(
    tmp_path, monkeypatch
):
    model = tiny_llama()
    first = convert_gguf(write_gguf(tmp_path / "one.gguf", model))
    with torch.no_grad():
        model.lm_head.weight += 1
    other = convert_gguf(write_gguf(tmp_path / "two.gguf", model))
    (tmp_path / "copy.gguf").write_bytes((tmp_path / "one.gguf").read_bytes())
    monkeypatch.setattr(
        AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("converted twice")
    )
    assert convert_gguf(tmp_path / "copy.gguf") == first != other


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip", b""])
def test_a_file_that_is_not_gguf_is_named(tmp_path, content, cache):
    (tmp_path / "wrong.gguf").write_bytes(content)
    with pytest.raises(UnavailableError, match=r"wrong\.gguf is not a GGUF file"):
        convert_gguf(tmp_path / "wrong.gguf")
    assert not list(cache.iterdir())


def test_a_cut_file_and_a_shard_are_refused_and_leave_nothing(tmp_path, cache):
    whole = write_gguf(tmp_path / "tiny.gguf", tiny_llama())
    (tmp_path / "cut.gguf").write_bytes(whole.read_bytes()[:20000])
    with pytest.raises(UnavailableError, match=r"cannot convert cut\.gguf"):
        convert_gguf(tmp_path / "cut.gguf")
    shard = whole.rename(tmp_path / "tiny-00001-of-00002.gguf")
    with pytest.raises(UnavailableError, match="one shard of several"):
        convert_gguf(shard)
    assert not list(cache.iterdir())


def test_an_interrupted_filling_leaves_nothing(cache):
    def interrupted(folder):
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_once(cache / "m", interrupted, **FACTS)
    assert not list(cache.iterdir())
    assert fill_once(cache / "m", fill, **FACTS).is_dir()


def test_of_two_at_once_the_first_stays_and_both_get_it(cache):
    barrier, made, found = Barrier(2), [], []

    def slow(folder):
        made.append(folder)
        barrier.wait(timeout=10)
        fill(folder)

    threads = [
        Thread(target=lambda: found.append(fill_once(cache / "m", slow, **FACTS))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(made) == 2
    assert found == [cache / "m"] * 2
    assert [path.name for path in cache.iterdir()] == ["m"]
    assert (cache / "m" / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_the_loser_keeps_the_winners_folder(cache):
    def loser(folder):
        fill(folder)
        fill_once(cache / "m", fill, **FACTS)
        (cache / "m" / "winner").touch()

    assert (fill_once(cache / "m", loser, **FACTS) / "winner").is_file()


def test_a_folder_from_another_source_is_replaced(cache):
    fill_once(cache / "m", fill, **FACTS)
    (cache / "m" / "old").touch()
    fill_once(cache / "m", fill, **{**FACTS, "source_sha256": "1"})
    assert not (cache / "m" / "old").exists()
