"""From a name to a folder: the order of the ways, what each failure says, and that a cached model
asks nobody.
"""

import json
import subprocess
import time

import pytest
import torch
from fake_weights import FILES, folder_entry, sha256, write_wheel
from safetensors.torch import save

from interp.core import InputError, UnavailableError
from interp.models.weights import fetch
from interp.models.weights.fetch import locate


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Our cache, the hub's cache, the package index and the working folder are empty; the hub
    refuses connections.
    """
    import huggingface_hub.constants as hub

    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(fetch, "CATALOG", {**fetch.CATALOG, "tiny-encoder": folder_entry()})
    for name in ("index", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")


def write_folder(folder, config=None, files=("model.safetensors",)):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps(config or {"architectures": ["LlamaForCausalLM"]})
    )
    for number, name in enumerate(files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(save({"weight": torch.full((2,), float(number))}))
    return folder


def hub_snapshot(tmp_path, hub_id, **options):
    """What a finished download leaves in the hub's cache."""
    repo = tmp_path / "hub" / ("models--" + hub_id.replace("/", "--"))
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    return write_folder(repo / "snapshots" / ("0" * 40), **options)


def test_a_package_of_the_registry_is_unpacked_checked_and_then_kept(tmp_path, monkeypatch):
    write_wheel(tmp_path / "index", FILES)
    first = locate("tiny-encoder")
    assert {file.name for file in first.folder.iterdir()} == {*FILES, "interp.json"}
    assert first.weight_hash == sha256(FILES["model.safetensors"])
    assert first.kind == "encoder"
    assert "interp-fake-weights==1.0" in first.how

    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: pytest.fail("pip was called for a cached model")
    )
    second = locate("tiny-encoder", offline=True)
    assert (second.folder, second.weight_hash) == (first.folder, first.weight_hash)
    assert second.how.startswith("interp's cache")


@pytest.mark.parametrize("damage", ["cut", "lost", "note"])
def test_a_damaged_cache_folder_is_made_again(tmp_path, damage):
    write_wheel(tmp_path / "index", FILES)
    folder = locate("tiny-encoder").folder
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(FILES["model.safetensors"][:-1])
    elif damage == "lost":
        weights.unlink()
    else:
        (folder / "interp.json").write_text("{")
    with pytest.raises(UnavailableError, match="missing, incomplete or from another source"):
        locate("tiny-encoder", offline=True)
    assert (
        locate("tiny-encoder").weight_hash
        == sha256(weights.read_bytes())
        == sha256(FILES["model.safetensors"])
    )


def test_a_wrong_hash_stops_everything_and_nothing_is_kept(tmp_path):
    wrong = {**FILES, "model.safetensors": save({"weight": torch.ones(4)})}
    write_wheel(tmp_path / "index", wrong)
    with pytest.raises(UnavailableError) as caught:
        locate("tiny-encoder")
    for part in (
        "model.safetensors",
        sha256(wrong["model.safetensors"]),
        sha256(FILES["model.safetensors"]),
        "not kept",
        "give a folder",
    ):
        assert part in str(caught.value)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_without_network_and_cache_every_way_is_listed_within_seconds():
    started = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        locate("tiny-encoder")
    assert time.monotonic() - started < 15
    lines = str(caught.value).splitlines()
    ways = [
        "(1) local path",
        "(2) interp's cache",
        "(3) the hub's cache",
        "(4) package registry",
        "(5) the hub: the hub did not answer",
    ]
    assert [way for way, line in zip(ways, lines[1:], strict=True) if way in line] == ways
    assert "run once with a network" in lines[0]
    assert "give a local folder" in lines[0]
    assert "interp-fake-weights==1.0" in lines[4]


def test_offline_asks_nobody(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    with pytest.raises(UnavailableError, match="offline was asked for") as caught:
        locate("tiny-encoder", offline=True)
    assert str(caught.value).count("offline was asked for") == 2


def test_a_hub_id_outside_the_catalog_never_asks_the_registry(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    with pytest.raises(UnavailableError) as caught:
        locate("somebody/something")
    assert len(str(caught.value).splitlines()) == 4
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("smollm2-135-instruct", "smollm2-135m-instruct"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct"),
        ("gpt-2", "gpt2"),
    ],
)
def test_a_near_miss_names_what_was_meant(name, meant):
    with pytest.raises(UnavailableError, match=f"did you mean '{meant}'"):
        locate(name, offline=True)


def test_the_order_is_local_then_our_cache_then_the_hubs(tmp_path):
    write_wheel(tmp_path / "index", FILES)
    snapshot = hub_snapshot(tmp_path, "nobody/tiny-encoder")
    assert locate("tiny-encoder").folder == snapshot
    (snapshot / "config.json").rename(snapshot / "elsewhere.json")
    ours = locate("tiny-encoder").folder
    (snapshot / "elsewhere.json").rename(snapshot / "config.json")
    assert locate("tiny-encoder").folder == ours != snapshot
    local = write_folder(tmp_path / "work" / "tiny-encoder")
    assert locate("tiny-encoder").folder.resolve() == local


def test_an_older_hub_name_is_found_in_the_hubs_cache(tmp_path):
    snapshot = hub_snapshot(tmp_path, "gpt2")
    found = locate("gpt2", offline=True)
    assert (found.folder, found.kind) == (snapshot, "language")
    assert found.how.startswith("the hub's cache: gpt2 at")


def test_an_unfinished_download_in_the_hubs_cache_is_refused(tmp_path):
    snapshot = hub_snapshot(tmp_path, "a/b", files=("model-1.safetensors",))
    index = {"weight_map": {"one": "model-1.safetensors", "two": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnavailableError, match=r"lacks model-2\.safetensors"):
        locate("a/b", offline=True)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "language"),
        ({"architectures": ["BertModel"]}, "encoder"),
        ({"_class_name": "UNet2DModel"}, "diffusion"),
    ],
)
def test_a_local_folder_says_what_it_holds(tmp_path, config, kind):
    folder = write_folder(tmp_path / "my model", config)
    found = locate(str(folder))
    assert (found.kind, found.how, found.weight_hash) == (
        kind,
        "local folder",
        sha256((folder / "model.safetensors").read_bytes()),
    )
    assert locate(folder).folder == folder


def test_the_hash_of_several_files_depends_on_each_and_on_their_names(tmp_path):
    first = locate(
        write_folder(tmp_path / "a", files=("x.safetensors", "y.safetensors"))
    ).weight_hash
    same = locate(
        write_folder(tmp_path / "b", files=("x.safetensors", "y.safetensors"))
    ).weight_hash
    renamed = locate(
        write_folder(tmp_path / "c", files=("x.safetensors", "z.safetensors"))
    ).weight_hash
    swapped = locate(
        write_folder(tmp_path / "d", files=("y.safetensors", "x.safetensors"))
    ).weight_hash
    assert first == same
    assert len({first, renamed, swapped}) == 3


def test_pickled_weights_are_refused(tmp_path):
    folder = write_folder(tmp_path / "old", files=())
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UnavailableError, match="only pickled weights, which are never loaded"):
        locate(folder)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere.gguf"])
def test_a_missing_path_is_not_taken_for_a_hub_id(name):
    with pytest.raises(
        UnavailableError, match=r"^(there is no folder|cannot read) .*nowhere"
    ) as caught:
        locate(name)
    assert "hub" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "https://host/model"])
def test_what_can_be_neither_path_nor_name_is_refused(name):
    with pytest.raises(InputError, match="smollm2-135m-instruct"):
        locate(name)


@pytest.mark.slow
def test_the_default_model_continues_as_it_should(monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.delenv("INTERP_CACHE")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    found = locate("smollm2-135m-instruct")
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(found.folder),
        AutoTokenizer.from_pretrained(found.folder),
    )
    tokens = tokenizer("The capital of France is", return_tensors="pt").input_ids
    assert model.dtype == torch.float32
    assert (
        tokenizer.decode(
            model.generate(tokens, max_new_tokens=1, do_sample=False)[0, tokens.shape[1] :]
        )
        == " Paris"
    )
