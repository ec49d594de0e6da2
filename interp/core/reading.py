"""Reads records back from the json of `interp.core.plain.plain`; a dataclass's annotations are the
schema, and errors name the path.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from interp.core.errors import InputError
from interp.core.score import Score

Record = TypeVar("Record")
Reader = Callable[[Any, str], Any]
"""From a plain value and its path."""

ATOMS: Mapping[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    bool: (bool,),
    float: (int, float),
}
SCORE = dict.fromkeys(("value", "low", "high", "control"), float | None)


@dataclass(frozen=True, kw_only=True)
class _Field:
    """`kinds` are the types whose values need no reader: a report has hundreds of thousands."""

    name: str
    key: str
    optional: bool
    kinds: tuple[type, ...]
    read: Reader


class _Wrong(Exception):
    """What is wrong with a value; it follows the name of the whole."""


def read_record(kind: type[Record], value: Any, *, name: str = "the file") -> Record:
    """A dataclass from the plain json that `interp.core.plain.plain` made of it.

    Fields may be strings, numbers, booleans, literals, other dataclasses, scores (null is NaN),
    `tuple[X, ...]`, `Mapping[str, X]`, `X | None` and `Any`. A field's `metadata["key"]` is its
    name in json; unknown keys are ignored, and a field with a default may be missing.

    Args:
        kind: the dataclass.
        value: plain json.
        name: what messages call the value.

    Raises:
        InputError: a key is missing or a value has another type; the message names the path.

    Example:
        >>> read_record(Score, {"value": 0.5})
        InputError: the file lacks 'low'; add it (null is allowed only where the schema says so)
    """
    try:
        found: Record = _reader(cast("Any", kind))(value, "")
    except _Wrong as wrong:
        raise InputError(f"{name} {wrong}") from None
    return found


def join(path: str, key: object) -> str:
    """The path of a key's value."""
    return f"{path}.{key}" if path else str(key)


@functools.cache
def _reader(kind: Any) -> Reader:
    if kind is Any:
        return lambda value, path: value
    if kind in ATOMS:
        return functools.partial(_checked, ATOMS[kind])
    if is_dataclass(kind):
        return functools.partial(_record, kind, _fields(kind))
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return functools.partial(_checked, tuple(map(type, inner)))
    if get_origin(kind) is tuple:
        return functools.partial(_items, ATOMS.get(inner[0], ()), _reader(inner[0]))
    if get_origin(kind) in (dict, Mapping):
        return functools.partial(_names, _reader(inner[1]))
    return functools.partial(_maybe, _reader(inner[0]))


def _fields(kind: Any) -> tuple[_Field, ...]:
    kinds = get_type_hints(kind) | (SCORE if kind is Score else {})
    return tuple(
        _Field(
            name=item.name,
            key=item.metadata.get("key", item.name),
            optional={item.default, item.default_factory} != {MISSING} and kind is not Score,
            kinds=ATOMS.get(kinds[item.name], ()),
            read=_reader(kinds[item.name]),
        )
        for item in fields(kind)
    )


def _record(kind: Any, parts: tuple[_Field, ...], value: Any, path: str) -> Any:
    _checked((Mapping,), value, path)
    found = {}
    for part in parts:
        if part.key in value:
            own = value[part.key]
            found[part.name] = (
                own if type(own) in part.kinds else part.read(own, join(path, part.key))
            )
        elif not part.optional:
            raise _Wrong(
                f"lacks {join(path, part.key)!r}; add it (null is allowed only where the schema "
                "says so)"
            )
    if kind is Score:
        found |= {name: math.nan for name in ("value", "low", "high") if found[name] is None}
    return kind(**found)


def _items(kinds: tuple[type, ...], read: Reader, value: Any, path: str) -> tuple[Any, ...]:
    _checked((list, tuple), value, path)
    return tuple(
        item if type(item) in kinds else read(item, f"{path}[{number}]")
        for number, item in enumerate(value)
    )


def _names(read: Reader, value: Any, path: str) -> dict[str, Any]:
    _checked((Mapping,), value, path)
    return {key: read(item, join(path, key)) for key, item in value.items()}


def _maybe(read: Reader, value: Any, path: str) -> Any:
    return None if value is None else read(value, path)


def _checked(kinds: tuple[type, ...], value: Any, path: str) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise _Wrong(
            f"has {type(value).__name__} at {path or 'the top'!r}, expected {names}; got "
            f"{value!r:.60}"
        )
    return value
