"""Activations on disk: bit for bit, whole or not at all, and never over something else."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.feather
import pytest
import safetensors.torch
import torch

from interp.capture import load_activations, save_activations, store
from interp.core import Activations, Contexts, InputError, Provenance, UnavailableError


def acts(seed: int = 0, dtype: torch.dtype = torch.float32) -> Activations:
    values = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)
    values[0, 0], values[1, 1] = -0.0, 1e-30
    tokens = (("The", " sea", "🙂"), ("<script>", "\n", ""))
    contexts = Contexts(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1]), np.zeros(5, int), ("The sea🙂", "<script>\n"), tokens)
    return Activations(values, contexts, "L1.mlp", Provenance("record", {"k": 1}, model="m", site="L1.mlp", cost={"seconds": 0.5}))


def same(one: Activations, two: Activations) -> bool:
    arrays = all(np.array_equal(getattr(one.contexts, name), getattr(two.contexts, name)) for name in ("item", "position", "step"))
    words = (one.contexts.items, one.contexts.tokens, one.site, one.provenance) == (
        two.contexts.items,
        two.contexts.tokens,
        two.site,
        two.provenance,
    )
    bits = one.values.dtype == two.values.dtype and one.values.numpy(force=True).tobytes() == two.values.numpy(force=True).tobytes()
    return arrays and words and bits


@pytest.mark.parametrize("shard_bytes", [1, 24, 10**6])
def test_round_trip_is_bit_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int) -> None:
    monkeypatch.setattr(store, "SHARD_BYTES", shard_bytes)
    folder = save_activations(acts(), tmp_path / "acts")
    assert len(list(folder.glob("values-*"))) == {1: 5, 24: 3, 10**6: 1}[shard_bytes]
    assert same(load_activations(folder), acts())
    assert not same(load_activations(folder), acts(1)), "control"


def test_half_precision_and_images(tmp_path: Path) -> None:
    half = acts(dtype=torch.bfloat16)
    loaded = load_activations(save_activations(half, tmp_path / "half"))
    assert torch.equal(loaded.values.view(torch.int16), half.values.view(torch.int16))
    images = Activations(half.values, Contexts(*(half.contexts.item,) * 3, ("seed 0", "seed 1")), "mid", half.provenance)
    assert load_activations(save_activations(images, tmp_path / "images")).contexts.tokens == ()


def test_saving_again_replaces(tmp_path: Path) -> None:
    save_activations(acts(0), tmp_path / "acts")
    save_activations(acts(1), tmp_path / "acts")
    assert same(load_activations(tmp_path / "acts"), acts(1))
    assert [path.name for path in tmp_path.iterdir()] == ["acts"]


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def broken_shard(*_: Any, **__: Any) -> None:
    raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("safetensors.torch.save_file", full),
        ("safetensors.torch.save_file", broken_shard),
        ("pyarrow.feather.write_feather", full),
        ("pathlib.Path.write_text", full),
        ("os.replace", full),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, fault: Any, before: bool) -> None:
    if before:
        save_activations(acts(0), tmp_path / "acts")
    with monkeypatch.context() as patch:
        patch.setattr(place, fault)
        with pytest.raises(UnavailableError, match=r"No space left on device.*free some space"):
            save_activations(acts(1), tmp_path / "acts")
    assert [path.name for path in tmp_path.iterdir()] == (["acts"] if before else [])
    if before:
        assert same(load_activations(tmp_path / "acts"), acts(0))


@pytest.mark.parametrize("place", ["pyarrow.feather.write_feather", "safetensors.torch.save_file", "os.replace"])
def test_an_interruption_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    save_activations(acts(0), tmp_path / "acts")
    with monkeypatch.context() as patch:
        patch.setattr(place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_activations(acts(1), tmp_path / "acts")
    assert same(load_activations(tmp_path / "acts"), acts(0))
    assert [path.name for path in tmp_path.iterdir()] == ["acts"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds something else \(no activations.json\)"):
        save_activations(acts(), tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="is a file"):
        save_activations(acts(), tmp_path / "thesis" / "chapter.txt")
    (tmp_path / "empty").mkdir()
    assert same(load_activations(save_activations(acts(), tmp_path / "empty")), acts())


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot write") as caught:
        save_activations(acts(), tmp_path / "file" / "acts")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["activations.json", "values-00000.safetensors", "rows.arrow", "items.arrow"])
@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_damaged_folder_is_named(tmp_path: Path, name: str, damage: str) -> None:
    folder = save_activations(acts(), tmp_path / "acts")
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "short":
        (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UnavailableError, match="cannot read"):
        load_activations(folder)


def test_a_character_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    whole = acts()
    broken = Activations(
        whole.values, Contexts(*(whole.contexts.item,) * 3, ("\ud800", "b"), whole.contexts.tokens), "L1.mlp", whole.provenance
    )
    with pytest.raises(InputError, match="cannot be stored"):
        save_activations(broken, tmp_path / "acts")
    assert list(tmp_path.iterdir()) == []


def test_files_may_be_read_by_others(tmp_path: Path) -> None:
    folder = save_activations(acts(), tmp_path / "acts")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain.txt").write_text("")
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (folder / "activations.json").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode
    assert pyarrow.feather.read_table(str(folder / "rows.arrow")).num_rows == 5
