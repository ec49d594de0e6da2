"""Checks that names are known; errors suggest the nearest."""

import difflib
from collections.abc import Iterable

from interp.core.errors import InputError


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like `name`, best first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.4)


def require_known(kind: str, name: str, known: Iterable[str], remedy: str = "") -> str:
    """Return `name` if it is known.

    Raises:
        InputError: it is not; the message has the nearest known names and the remedy.
    """
    choices = list(known)
    if name in choices:
        return name
    close = nearest(name, choices) or choices[:3]
    hint = f"; nearest: {', '.join(close)}" if close else ""
    raise InputError(f"unknown {kind} {name!r}{hint}{'; ' + remedy if remedy else ''}")
