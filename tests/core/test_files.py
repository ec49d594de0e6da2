"""Files are there whole or as they were."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from interp.core import InputError, UnavailableError
from interp.core.files import (
    read_json,
    read_tensors,
    replacing,
    replacing_folder,
    require_writable,
    write_json,
    write_text,
)


def fill(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("new")


def fill_folder(path: Path) -> None:
    with replacing_folder(path) as temporary:
        (temporary / "content").write_text("new")


def content(path: Path) -> str:
    return (path / "content" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("write", [fill, fill_folder])
def test_a_second_writing_replaces_the_first(tmp_path: Path, write: Callable[[Path], None]) -> None:
    target = tmp_path / "deep" / "er" / "target"
    write(target)
    write(target)
    assert content(target) == "new"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("write", [fill, fill_folder])
def test_others_may_read_what_a_library_wrote_for_its_owner_only(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    def own(path: Path, text: str) -> int:
        path.touch(mode=0o600)
        path.chmod(0o600)
        return real(path, text)

    real = Path.write_text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", own)
        write(tmp_path / "target")
    written = tmp_path / "target"
    written = written / "content" if written.is_dir() else written
    (tmp_path / "plain").touch()
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), ZeroDivisionError(), OSError(errno.ENOSPC, "No space left on device")],
)
@pytest.mark.parametrize("make", [replacing, replacing_folder])
def test_a_failure_inside_leaves_what_was_there(
    tmp_path: Path, make: Any, error: BaseException
) -> None:
    target = tmp_path / "target"
    (fill if make is replacing else fill_folder)(target)
    before = content(target)
    expected = UnavailableError if isinstance(error, OSError) else type(error)

    def fail() -> None:
        with make(target) as temporary:
            (temporary if make is replacing else temporary / "content").write_text("half")
            raise error

    with pytest.raises(expected):
        fail()
    assert content(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_error_of_ours_keeps_its_words(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"^my words$"), replacing(tmp_path / "a"):
        raise UnavailableError("my words")


def test_a_failing_exchange_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "content").write_text("old")
    replace, calls = os.replace, []

    def second_fails(source: Any, destination: Any) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, destination)

    monkeypatch.setattr("os.replace", second_fails)
    with pytest.raises(KeyboardInterrupt):
        fill_folder(target)
    assert content(target) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_only_its_own_kind_of_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "content").write_text("old")
    with (
        pytest.raises(InputError, match=r"no note.json"),
        replacing_folder(tmp_path / "work", "note.json"),
    ):
        pass
    assert content(tmp_path / "work") == "old"
    (tmp_path / "work" / "note.json").write_text("{}")
    with replacing_folder(tmp_path / "work", "note.json") as temporary:
        (temporary / "content").write_text("new")
    assert content(tmp_path / "work") == "new"
    with pytest.raises(InputError, match="is a file"):
        fill_folder(tmp_path / "work" / "content")


@pytest.mark.parametrize("write", [fill, fill_folder])
def test_an_unwritable_place_is_named(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(
        UnavailableError, match=r"cannot write .*file/target.*choose another folder"
    ):
        write(tmp_path / "file" / "target")
    assert (tmp_path / "file").read_text() == "old"


def test_json_round_trip_and_refusals(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    write_json(path, {"text": "漢🙂<", "numbers": [1, 2.5, None]})
    assert read_json(path) == {"text": "漢🙂<", "numbers": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path)["numbers"] == [1, 2.5, None]
    write_text(path, "{half")
    for broken in (path, tmp_path / "missing"):
        with pytest.raises(UnavailableError, match="cannot read"):
            read_json(broken)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UnavailableError, match="cannot read"):
        read_json(path)


def test_a_writable_folder_is_made_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "kept").touch()
    assert require_writable(tmp_path / "new" / "deep") == tmp_path / "new" / "deep"
    assert require_writable(tmp_path / "old") == tmp_path / "old"
    assert sorted(tmp_path.rglob("*")) == [
        tmp_path / part for part in ("new", "new/deep", "old", "old/kept")
    ]


def test_what_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; give the name of a folder"):
        require_writable(tmp_path / "file")
    with pytest.raises(
        UnavailableError, match=r"cannot write .*Not a directory; .*choose another folder"
    ):
        require_writable(tmp_path / "file" / "folder")


def test_tensors_come_back_with_their_metadata_and_a_bad_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tensors.safetensors"
    save_file({"a": torch.arange(3), "b": torch.eye(2)}, path, metadata={"format": "one"})
    about, tensors = read_tensors(path, "write it again")
    assert about == {"format": "one"}
    assert tensors["a"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:20])
    assert torch.equal(tensors["b"], torch.eye(2)), "in memory, not a view of the file"
    for bad in (path, tmp_path / "missing.safetensors"):
        with pytest.raises(UnavailableError, match=rf"cannot read .*{bad.name}.*; write it again"):
            read_tensors(bad, "write it again")
