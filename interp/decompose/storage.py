"""Dictionaries on disk: tensors in safetensors, everything else in json."""

from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from interp.core import InputError, Provenance, UnavailableError
from interp.core.files import read_json, read_tensors, replacing_folder, write_json
from interp.core.names import require_known

if TYPE_CHECKING:
    from interp.decompose.dictionary import Dictionary

TENSORS = "dictionary.safetensors"
DESCRIPTION = "dictionary.json"
FORMAT = 1

Kind = TypeVar("Kind", bound=type[Any])
KINDS: "dict[str, type[Dictionary]]" = {}
"""Classes that `load_dictionary` can make, by method; `stored` adds them."""


def stored(kind: Kind) -> Kind:
    """Class decorator: let `load_dictionary` make dictionaries of this class."""
    KINDS[kind.method] = kind
    return kind


def save_dictionary(dictionary: "Dictionary", folder: str | Path) -> None:
    """Write a dictionary to a folder atomically, replacing one that is there.

    Raises:
        InputError: the folder holds something other than a dictionary.
        UnavailableError: the folder cannot be written.

    Example:
        >>> save_dictionary(snmf, "snmf")
    """
    from safetensors.torch import save_file

    target = Path(folder)
    if target.exists() and (
        not target.is_dir() or {item.name for item in target.iterdir()} - {TENSORS, DESCRIPTION}
    ):
        raise InputError(f"{target} exists and is not a dictionary's folder; choose another name")
    values = {item.name: getattr(dictionary, item.name) for item in fields(dictionary)}
    tensors = {
        name: value.detach().cpu().contiguous()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    scalars = {
        name: value
        for name, value in values.items()
        if name != "provenance" and name not in tensors
    }
    description = {
        "format": FORMAT,
        "method": dictionary.method,
        "provenance": dictionary.provenance.to_dict(),
        "scalars": scalars,
    }
    with replacing_folder(target, DESCRIPTION) as temporary:
        save_file(tensors, temporary / TENSORS)
        write_json(temporary / DESCRIPTION, description)


def load_dictionary(folder: str | Path) -> "Dictionary":
    """Read a dictionary that `save_dictionary` wrote; runs no code from the files.

    Raises:
        UnavailableError: a file is missing, damaged or does not fit the others.
        InputError: the method is not known.

    Example:
        >>> load_dictionary("snmf").directions
    """
    path = Path(folder)
    description = read_json(path / DESCRIPTION)
    if (
        not isinstance(description, dict)
        or not {"method", "provenance", "scalars"} <= description.keys()
    ):
        raise UnavailableError(
            f"{path / DESCRIPTION} does not describe a dictionary; save the dictionary again"
        )
    method = str(description["method"])
    require_known("method", method, KINDS, "a newer version of the package may know it")
    kind = KINDS[method]
    _, tensors = read_tensors(path / TENSORS, "save the dictionary again")
    scalars: dict[str, Any] = description["scalars"]
    values = {**tensors, **scalars}
    wanted = [item for item in fields(kind) if item.name != "provenance"]
    missing = [item.name for item in wanted if item.name not in values]
    if missing:
        raise UnavailableError(
            f"{path} lacks {', '.join(missing)}, which a {kind.method} dictionary has; save the "
            "dictionary again"
        )
    _require_shapes(path, wanted, values)
    provenance = _provenance(path, description["provenance"])
    return kind(provenance=provenance, **{item.name: values[item.name] for item in wanted})


def _provenance(path: Path, values: Any) -> Provenance:
    try:
        return Provenance.from_dict(values)
    except TypeError as error:
        raise UnavailableError(
            f"the provenance in {path / DESCRIPTION} cannot be read: {error}"
        ) from error


def _require_shapes(path: Path, wanted: list[Field[Any]], values: dict[str, Any]) -> None:
    """Check stored values against their fields' declared types, and named axes for agreement."""
    axes: dict[str, int] = {}
    for item in wanted:
        value, declared = values[item.name], item.type
        if isinstance(declared, type) and declared in (int, bool, float, str):
            if type(value) is not declared:
                raise UnavailableError(
                    f"{path}: {item.name} is {value!r}, expected {declared.__name__}; save the "
                    "dictionary again"
                )
            continue
        names = str(getattr(declared, "dim_str", "")).split()
        fits = isinstance(value, Tensor) and value.ndim == len(names)
        if not fits or any(
            axes.setdefault(name, size) != size
            for name, size in zip(names, value.shape, strict=True)
        ):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UnavailableError(
                f"{path}: {item.name} is {shape}, expected [{', '.join(names)}] with {axes}; save "
                "the dictionary again"
            )
        if not bool(torch.isfinite(value).all()):
            raise UnavailableError(
                f"{path}: {item.name} holds values that are not finite; save the dictionary again"
            )
