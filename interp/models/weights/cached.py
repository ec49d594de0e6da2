"""The weights cache, and the kind, hash and note of a folder of weights."""

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interp.core.errors import UnavailableError
from interp.core.files import read_json
from interp.core.progress import Progress, silent
from interp.core.provenance import package_versions, text_hash

Kind = Literal["language", "encoder", "diffusion"]

NOTE = "interp.json"
BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class LocatedWeights:
    """A local folder of verified weights.

    `folder` loads with `from_pretrained`; `name` is the requested name, of a path the last part;
    `weight_hash` is the safetensors file's sha256 (of several: the hash over names and hashes);
    `kind` says which adapter fits; `how` says where the weights came from.
    """

    folder: Path
    name: str
    weight_hash: str
    kind: Kind
    how: str


def cache_folder() -> Path:
    """Where converted and unpacked weights are kept: `INTERP_CACHE`, else the platform's cache.

    Linux: `$XDG_CACHE_HOME/interp` or `~/.cache/interp`; macOS: `~/Library/Caches/interp`; Windows:
    `%LOCALAPPDATA%\\interp\\Cache`.
    """
    chosen = os.environ.get("INTERP_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        return Path(local) / "interp" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "interp"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "interp"


def models_folder() -> Path:
    """The cache's folder with one folder per model."""
    return cache_folder() / "models"


def require_models_folder() -> Path:
    """`models_folder()`, made if missing.

    Raises:
        UnavailableError: it cannot be made.
    """
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"cannot make {folder}: {error.strerror or error}; set INTERP_CACHE to a folder you "
            "can write"
        ) from error
    return folder


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in blocks (about a second per gigabyte).

    Raises:
        UnavailableError: the file cannot be read.
    """
    try:
        with path.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except OSError as error:
        raise UnavailableError(
            f"cannot read {path}: {error.strerror or error}; check that it exists and may be read"
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder and its subfolders, in a fixed order."""
    return sorted(
        folder.rglob("*.safetensors"), key=lambda path: path.relative_to(folder).as_posix()
    )


def weight_hash(folder: Path, progress: Progress = silent) -> str:
    """The hash of a folder's weights: a single file's sha256, else the hash over names and hashes.

    Cost: reads every weight file once, but those that the hub's cache names by sha256.
    """
    files = weight_files(folder)
    hashes = []
    for done, file in enumerate(files):
        progress("hash weights", done, len(files), "file")
        hashes.append(_stored_hash(file) or file_sha256(file))
    progress("hash weights", len(files), len(files), "file")
    if len(hashes) == 1:
        return hashes[0]
    names = [file.relative_to(folder).as_posix() for file in files]
    return text_hash(f"{name} {digest}" for name, digest in zip(names, hashes, strict=True))


def _stored_hash(file: Path) -> str | None:
    """The hub's cache links a large file to a blob named by its sha256."""
    blob = file.resolve().name if file.is_symlink() else ""
    return blob if len(blob) == 64 and set(blob) <= set("0123456789abcdef") else None


def folder_problem(folder: Path) -> str | None:
    """Why a folder cannot be loaded; None if it has a configuration and every safetensors file that
    its index names.
    """
    if not any((folder / name).is_file() for name in ("config.json", "model_index.json")):
        return f"{folder} has neither config.json nor model_index.json"
    files = weight_files(folder)
    if not files:
        pickled = any(folder.rglob("*.bin")) or any(folder.rglob("*.pt"))
        found = (
            "only pickled weights, which are never loaded" if pickled else "no .safetensors file"
        )
        return f"{folder} has {found}"
    for index in folder.rglob("*.safetensors.index.json"):
        named = sorted(set(read_json(index)["weight_map"].values()))
        missing = [name for name in named if not (index.parent / name).is_file()]
        if missing:
            return (
                f"{folder} lacks {missing[0]} ({len(missing)} of the files that {index.name} names)"
            )
    return None


def folder_kind(folder: Path) -> Kind:
    """What a complete folder holds: a diffusers network, a language model, or else an encoder."""
    if (folder / "model_index.json").is_file():
        return "diffusion"
    config = read_json(folder / "config.json")
    if "_class_name" in config:
        return "diffusion"
    names = config.get("architectures") or []
    language = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names)
    return "language" if language else "encoder"


def note_for(
    folder: Path, *, name: str, kind: Kind, source: str, source_sha256: str
) -> dict[str, Any]:
    """The contents of `interp.json` for a filled folder: source, hashes, size and versions."""
    return {
        "format": 1,
        "name": name,
        "kind": kind,
        "source": source,
        "source_sha256": source_sha256,
        "weight_hash": weight_hash(folder),
        "weight_bytes": _weight_bytes(folder),
        "versions": package_versions(),
    }


def read_note(folder: Path, source_sha256: str) -> Mapping[str, Any] | None:
    """The note of a complete folder made from this source, or None."""
    try:
        if not (folder / NOTE).is_file() or folder_problem(folder):
            return None
        note: dict[str, Any] = read_json(folder / NOTE)
    except UnavailableError:
        return None
    wanted = {"format": 1, "source_sha256": source_sha256, "weight_bytes": _weight_bytes(folder)}
    return note if all(note.get(key) == value for key, value in wanted.items()) else None


def noted_hash(folder: Path) -> str | None:
    """The weights' hash from the note of a folder in our cache; None for any other folder."""
    if not folder.is_relative_to(models_folder()) or not (folder / NOTE).is_file():
        return None
    return str(read_json(folder / NOTE)["weight_hash"])


def _weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in weight_files(folder))
