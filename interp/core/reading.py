"""From plain values of json back to the records that `plain` made them of."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from interp.core.errors import InputError

Kind = TypeVar("Kind")


def read_record(kind: type[Kind], value: Any) -> Kind:
    """The value of a type from its plain values; null is NaN where a number is expected.

    Known are dataclasses, `tuple[X, ...]`, mappings from text, `X | None`, and what json holds
    itself. A field with a default may be missing; keys that are no field are passed over.

    Raises:
        InputError: a field is missing.

    Example:
        >>> read_record(Score, plain(score)) == score
        True
    """
    read: Kind = _read(kind, value)
    return read


def _read(kind: Any, value: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (inner,) = (part for part in parts if part is not NoneType)
        return None if value is None else _read(inner, value)
    if is_dataclass(kind):
        return _record(kind, value)
    if origin is tuple:
        return tuple(_read(parts[0], item) for item in value)
    if origin in (dict, Mapping):
        return {key: _read(parts[1], item) for key, item in value.items()}
    return math.nan if kind is float and value is None else value


def _record(kind: Any, values: Mapping[str, Any]) -> Any:
    types, given = get_type_hints(kind), {}
    for field in fields(kind):
        key = field.metadata.get("key", field.name)
        if key in values:
            given[field.name] = _read(types[field.name], values[key])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{kind.__name__} lacks {key!r}; make the file again")
    return kind(**given)
