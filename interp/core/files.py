"""Files read with errors that name them, and written so that a killed run leaves the old or the
new one.
"""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from interp.core.errors import InputError, UnavailableError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces it on success and is removed on failure.

    Raises:
        UnavailableError: the disk is full or the folder cannot be written.
    """
    with _writing(path) as temporary:
        try:
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode
            yield temporary
            # safetensors makes files that only their owner can read; colleagues need them too.
            temporary.chmod(mode)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, marker: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which replaces it on success and is removed on
    failure.

    With a `marker`, an existing folder is replaced only if it is empty or holds a file of that
    name.

    Raises:
        InputError: `path` is a file, or a folder of something else.
        UnavailableError: the disk is full or the folder cannot be written.
    """
    _require_replaceable(path, marker)
    with _writing(path) as temporary:
        try:
            temporary.mkdir()
            yield temporary
            for file in (found for found in temporary.rglob("*") if found.is_file()):
                file.chmod(temporary.stat().st_mode & 0o666)
            _exchange(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """A name beside `path`; errors while it is written name `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile, whose files only the user can read: results are shared.
        yield path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    except UnavailableError:
        raise
    except OSError as error:
        raise UnavailableError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another "
            "folder"
        ) from error


def _exchange(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.replace(path)
        return
    stale = temporary.with_name(temporary.name + ".old")
    path.replace(stale)
    try:
        temporary.replace(path)
    except BaseException:
        stale.replace(path)
        raise
    shutil.rmtree(stale, ignore_errors=True)


def _require_replaceable(path: Path, marker: str | None) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give the name of a folder")
    if marker and path.is_dir() and any(path.iterdir()) and not (path / marker).is_file():
        raise InputError(
            f"{path} holds something else (no {marker}) and would be lost; give a new or empty "
            "folder"
        )


def require_writable(folder: Path) -> Path:
    """Make a folder if needed and check that it can be written, before long work fills it.

    Raises:
        InputError: `folder` is a file.
        UnavailableError: the disk is full or the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the name of a folder")
    probe = folder / ".writable"
    with replacing(probe):
        pass
    probe.unlink()
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write json, whole or not at all; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a json file.

    Raises:
        UnavailableError: the file is missing or is not json.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnavailableError(f"cannot read {path}: {error}") from error


def read_tensors(
    path: str | Path, remedy: str, what: str = ""
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and all tensors of a safetensors file, in memory; no code of the file runs.

    Args:
        remedy: what to do about an error, for its message.
        what: what the file holds, for the same.

    Raises:
        UnavailableError: the file is missing or damaged.

    Example:
        >>> about, tensors = read_tensors("dictionary.safetensors", "save the dictionary again")
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            # Copies: arithmetic on a mapped tensor can differ in the last bit with its alignment.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (OSError, SafetensorError) as error:
        named = f"{what} from {path}" if what else path
        raise UnavailableError(f"cannot read {named}: {error}; {remedy}") from error
