"""From records to plain values that json can say."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interp.core.score import Score


def plain(value: Any) -> Any:
    """A value as json-ready ones: records become dicts of their fields, sequences lists, and a
    number that is not finite None.

    A field's metadata `{"key": name}` gives it another name, `{"plain": False}` leaves it out.

    Example:
        >>> plain(Score(math.nan, math.nan, math.nan, n=0, seed=0))["value"] is None
        True
    """
    if isinstance(value, Score):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.metadata.get("key", field.name): plain(getattr(value, field.name))
            for field in fields(value)
            if field.metadata.get("plain", True)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, range | tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
