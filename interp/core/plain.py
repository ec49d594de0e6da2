"""The one way from the package's values to plain json."""

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

    What has a `to_dict` (a score, a provenance) becomes that. A dataclass becomes a dict of its
    fields in order; a field may say otherwise by its metadata: `{"key": name}` renames it,
    `{"plain": False}` leaves it out. Mappings get keys of strings; tuples, lists and ranges become
    lists, and so do sets, sorted; arrays and tensors of any shape become numbers or nested lists;
    paths become strings. NaN and infinities become None, as json has no word for them.

    Raises:
        InputError: a value of another type; the message names the type.

    Example:
        >>> plain({1: (0.5, float("nan")), "where": Path("a/b")})
        {'1': [0.5, None], 'where': 'a/b'}
    """
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
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise InputError(
        f"a {type(value).__name__} has no plain form; give numbers, strings, arrays, dataclasses, "
        "or lists and dicts of them"
    )
