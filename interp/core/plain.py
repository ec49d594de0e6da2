"""Turns the package's values into plain json."""

import math
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from interp.core.errors import InputError


def plain(value: Any) -> Any:
    """A value as json can hold it: dicts, lists, strings, numbers, booleans and None.

    Objects with a `to_dict` (a score, a provenance) become that dict. A dataclass becomes a dict of
    its fields in order; a field's metadata `{"key": name}` renames it, `{"plain": False}` leaves it
    out. Keys of mappings become strings; tuples, lists, ranges and (sorted) sets become lists;
    arrays and tensors numbers or nested lists; paths strings; NaN and infinities None.

    Raises:
        InputError: a value has another type.

    Example:
        >>> plain({1: (0.5, float("nan")), "where": Path("a/b")})
        {'1': [0.5, None], 'where': 'a/b'}
    """
    # First, because a report has hundreds of thousands of these.
    if type(value) in (str, int, bool, float):
        return _atom(value)
    if hasattr(value, "to_dict") and not isinstance(value, type):
        return plain(value.to_dict())
    if is_dataclass(value) and not isinstance(value, type):
        return {
            item.metadata.get("key", item.name): plain(getattr(value, item.name))
            for item in fields(value)
            if item.metadata.get("plain", True)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Set):
        return [plain(item) for item in sorted(value)]
    if isinstance(value, range | tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return plain(value.tolist())
    return _atom(value)


def _atom(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return str(value)
    raise InputError(
        f"a {type(value).__name__} has no plain form; give numbers, strings, arrays, dataclasses, "
        "or lists and dicts of them"
    )
