"""Keeps public names that moved importable from their old place, with a warning."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def forwarding(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that finds names in their new homes and warns where these are.

    Example:
        >>> __getattr__ = forwarding(__name__, {"trace_task": "interp.studies.paths"})
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        warnings.warn(
            f"{package}.{name} is {homes[name]}.{name} since 0.2; the old place goes with 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(homes[name]), name)

    return find
