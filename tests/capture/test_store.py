"""Activations on disk: bit for bit, whole or not at all, and never over something else."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.feather
import pytest
import safetensors.torch
import torch

from interp.capture import store
from interp.capture.store import (
    appending_activations,
    load_activations,
    open_activations,
    save_activations,
)
from interp.core import Activations, Contexts, InputError, Provenance, UnavailableError, text_hash
from interp.core.rows import Rows, row_chunks


def acts(seed: int = 0, dtype: torch.dtype = torch.float32) -> Activations:
    values = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)
    values[0, 0], values[1, 1] = -0.0, 1e-30
    tokens = (("The", " sea", "🙂"), ("<script>", "\n", ""))
    contexts = Contexts(
        item=np.array([0, 0, 0, 1, 1]),
        position=np.array([0, 1, 2, 0, 1]),
        step=np.zeros(5, int),
        items=("The sea🙂", "<script>\n"),
        tokens=tokens,
    )
    return Activations(
        values,
        contexts,
        "L1.mlp",
        Provenance("record", parameters={"k": 1}, model="m", site="L1.mlp", cost={"seconds": 0.5}),
    )


def same(one: Activations, two: Activations) -> bool:
    arrays = all(
        np.array_equal(getattr(one.contexts, name), getattr(two.contexts, name))
        for name in ("item", "position", "step")
    )
    words = (one.contexts.items, one.contexts.tokens, one.site, one.provenance) == (
        two.contexts.items,
        two.contexts.tokens,
        two.site,
        two.provenance,
    )
    bits = (
        one.values.dtype == two.values.dtype
        and one.values.numpy(force=True).tobytes() == two.values.numpy(force=True).tobytes()
    )
    return arrays and words and bits


@pytest.mark.parametrize("shard_bytes", [1, 24, 10**6])
def test_round_trip_is_bit_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(store, "SHARD_BYTES", shard_bytes)
    folder = save_activations(acts(), tmp_path / "acts")
    assert len(list(folder.glob("values-*"))) == {1: 5, 24: 3, 10**6: 1}[shard_bytes]
    assert same(load_activations(folder), acts())
    assert not same(load_activations(folder), acts(1)), "control"


def test_half_precision_and_images(tmp_path: Path) -> None:
    half = acts(dtype=torch.bfloat16)
    loaded = load_activations(save_activations(half, tmp_path / "half"))
    assert torch.equal(loaded.values.view(torch.int16), half.values.view(torch.int16))
    images = Activations(
        half.values,
        Contexts(
            item=half.contexts.item,
            position=half.contexts.item,
            step=half.contexts.item,
            items=("seed 0", "seed 1"),
        ),
        "mid",
        half.provenance,
    )
    assert load_activations(save_activations(images, tmp_path / "images")).contexts.tokens == ()


def test_saving_again_replaces(tmp_path: Path) -> None:
    save_activations(acts(0), tmp_path / "acts")
    save_activations(acts(1), tmp_path / "acts")
    assert same(load_activations(tmp_path / "acts"), acts(1))
    assert [path.name for path in tmp_path.iterdir()] == ["acts"]


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def broken_shard(*_: Any, **__: Any) -> None:
    raise safetensors.SafetensorError(
        "Error while serializing: I/O error: No space left on device (os error 28)"
    )


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
def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, fault: Any, before: bool
) -> None:
    if before:
        save_activations(acts(0), tmp_path / "acts")
    with monkeypatch.context() as patch:
        patch.setattr(place, fault)
        with pytest.raises(UnavailableError, match=r"No space left on device.*free some space"):
            save_activations(acts(1), tmp_path / "acts")
    assert [path.name for path in tmp_path.iterdir()] == (["acts"] if before else [])
    if before:
        assert same(load_activations(tmp_path / "acts"), acts(0))


@pytest.mark.parametrize(
    "place", ["pyarrow.feather.write_feather", "safetensors.torch.save_file", "os.replace"]
)
def test_an_interruption_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
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


@pytest.mark.parametrize(
    "name", ["activations.json", "values-00000.safetensors", "rows.arrow", "items.arrow"]
)
@pytest.mark.parametrize("damage", ["missing", "short"])
@pytest.mark.parametrize("read", [load_activations, open_activations])
def test_a_damaged_folder_is_named(
    tmp_path: Path, name: str, damage: str, read: Callable[[Path], Activations]
) -> None:
    folder = save_activations(acts(), tmp_path / "acts")
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "short":
        (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UnavailableError, match="cannot read"):
        read(folder)


def test_a_character_that_no_file_can_hold_is_refused(tmp_path: Path) -> None:
    whole = acts()
    broken = Activations(
        whole.values,
        replace(whole.contexts, items=("\ud800", "b")),
        "L1.mlp",
        whole.provenance,
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


# Values that stay on disk


def rows_of(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Activations:
    n = np.arange(count)
    tokens = tuple(tuple(f" {place}" for place in range(4)) for _ in range(-(-count // 4) or 1))
    contexts = Contexts(
        item=n // 4,
        position=n % 4,
        step=n * 0,
        items=tuple(f"text {seed} {item}" for item in range(len(tokens))),
        tokens=tokens,
    )
    values = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)
    corpus = text_hash(contexts.items)
    return Activations(
        values,
        contexts,
        "L1.mlp",
        Provenance(
            "record", parameters={"k": 1}, site="L1.mlp", corpus_hash=corpus, cost={"seconds": 0.5}
        ),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_opened_rows_are_the_loaded_ones_in_any_order_across_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(store, "SHARD_BYTES", 7 * 3 * dtype.itemsize)
    whole = rows_of(30, dtype=dtype)
    opened = open_activations(save_activations(whole, tmp_path / "acts"))
    assert len(list((tmp_path / "acts").glob("values-*"))) == 5
    assert isinstance(opened.values, Rows)
    assert (opened.values.shape, opened.values.dtype) == (whole.values.shape, dtype)
    for rows in (np.arange(30), np.array([29, 6, 7, 7, 0]), np.arange(5, 23), np.array([13])):
        assert torch.equal(opened.take(rows).values, whole.values[torch.from_numpy(rows)])
    assert same(opened.in_memory(), whole)
    assert same(load_activations(tmp_path / "acts"), whole)
    assert "5 shards in" in repr(opened.values)


def test_rows_on_disk_can_be_saved_again_and_over_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SHARD_BYTES", 100)
    folder = save_activations(rows_of(30), tmp_path / "acts")
    monkeypatch.setattr(store, "SHARD_BYTES", 50)
    assert same(
        load_activations(save_activations(open_activations(folder), tmp_path / "copy")), rows_of(30)
    )
    assert same(load_activations(save_activations(open_activations(folder), folder)), rows_of(30))


def test_opening_reads_headers_and_a_read_maps_nothing_afterwards(tmp_path: Path) -> None:
    folder = save_activations(rows_of(30), tmp_path / "acts")
    opened = open_activations(folder)
    first = opened.values[:4]
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(folder) not in maps.read_text()
        loaded = load_activations(folder)
        assert str(folder) in maps.read_text(), "control: a loaded shard is mapped"
        assert torch.equal(loaded.values[:4], first)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            torch.zeros(5, 4),
            (
                r"values-00001.safetensors: it is 4 wide of torch.float32, the first shard 3 of "
                r"torch.float32"
            ),
        ),
        (torch.zeros(5, 3, dtype=torch.float64), "3 wide of torch.float64"),
        (torch.zeros(15), r"its values are \[15\], expected \[row, d\]"),
        (torch.zeros(4, 3), "shards have 14 rows, its contexts 15"),
    ],
)
def test_a_shard_of_another_shape_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: torch.Tensor, message: str
) -> None:
    monkeypatch.setattr(store, "SHARD_BYTES", 60)
    folder = save_activations(rows_of(15), tmp_path / "acts")
    safetensors.torch.save_file({"values": other}, folder / "values-00001.safetensors")
    for read in (open_activations, load_activations):
        with pytest.raises(UnavailableError, match=message):
            read(folder)


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_shard_that_goes_while_it_is_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(store, "SHARD_BYTES", 60)
    opened = open_activations(save_activations(rows_of(15), tmp_path / "acts"))
    shard = tmp_path / "acts" / "values-00001.safetensors"
    content = shard.read_bytes()
    shard.unlink()
    if damage == "short":
        shard.write_bytes(content[:-10])
    assert opened.values[:5].shape == (5, 3), "the others are still there"
    with pytest.raises(UnavailableError, match=r"cannot read .*values-00001.safetensors"):
        opened.values[:6]


def test_the_memory_has_to_hold_a_row(tmp_path: Path) -> None:
    folder = save_activations(rows_of(15), tmp_path / "acts")
    assert {len(chunk) for _, chunk in row_chunks(open_activations(folder, memory=60).values)} == {
        5
    }
    with pytest.raises(InputError, match="memory is 10 bytes"):
        open_activations(folder, memory=10)


@pytest.mark.parametrize("pieces", [[15], [1, 14], [4, 0, 6, 5]])
def test_appended_pieces_are_one_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[int]
) -> None:
    monkeypatch.setattr(store, "SHARD_BYTES", 60)
    parts = [rows_of(count, seed) for seed, count in enumerate(pieces)]
    with appending_activations(tmp_path / "acts") as append:
        for part in parts:
            append(part)
            assert not (tmp_path / "acts").exists()
            part.values.fill_(9.0)
    loaded = load_activations(tmp_path / "acts")
    assert torch.equal(
        loaded.values, torch.cat([rows_of(count, seed).values for seed, count in enumerate(pieces)])
    )
    assert [
        loaded.contexts.describe(row).split(": ", 1)[1].split(" of input")[0] for row in range(15)
    ] == [
        part.contexts.describe(row).split(": ", 1)[1].split(" of input")[0]
        for part in parts
        for row in range(len(part))
    ]
    named = [loaded.contexts.items[item] for item in loaded.contexts.item]
    assert named == [part.contexts.items[item] for part in parts for item in part.contexts.item]
    assert loaded.provenance.corpus_hash == text_hash(loaded.contexts.items)
    assert loaded.provenance.cost["seconds"] == 0.5 * len(pieces)


def test_appending_is_whole_or_not_at_all(tmp_path: Path) -> None:
    def interrupted() -> None:
        with appending_activations(tmp_path / "acts") as append:
            append(rows_of(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (
        pytest.raises(InputError, match="nothing was appended"),
        appending_activations(tmp_path / "acts"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(rows_of(3), site="L2.mlp"), "L2.mlp by record cannot follow rows of L1.mlp"),
        (
            replace(rows_of(3), provenance=Provenance("record", parameters={"k": 2})),
            "same site, network and settings",
        ),
        (
            rows_of(3, dtype=torch.float16),
            "3 wide of torch.float16, those before 3 of torch.float32",
        ),
        (replace(rows_of(3), values=torch.zeros(3, 4)), "4 wide"),
    ],
)
def test_pieces_of_another_kind_are_refused(
    tmp_path: Path, other: Activations, message: str
) -> None:
    def mixed() -> None:
        with appending_activations(tmp_path / "acts") as append:
            append(rows_of(3))
            append(other)

    with pytest.raises(InputError, match=message):
        mixed()
    assert list(tmp_path.iterdir()) == []
