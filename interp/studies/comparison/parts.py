"""Parts of a long computation on disk: each is computed once, so that a run that was stopped goes
on where it was.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from interp.core import InputError
from interp.core.files import read_json, require_writable, write_json
from interp.core.plain import plain
from interp.core.reading import read_record

SETTINGS = "settings.json"
Record = TypeVar("Record")


@dataclass(frozen=True)
class Parts:
    """A folder of json parts that belong to one set of settings."""

    folder: Path

    @classmethod
    def of(cls, folder: str | Path, settings: Any) -> "Parts":
        """The parts in a folder, which is made for these settings if it is new.

        Raises:
            InputError: the folder holds parts of other settings.
            UnavailableError: the folder cannot be written.
        """
        target, values = require_writable(Path(folder)), plain(settings)
        note = target / SETTINGS
        if note.exists():
            _require_same(read_json(note), values, target)
        else:
            write_json(note, values)
        return cls(target)

    def path(self, name: str) -> Path:
        """Where a part is, or will be."""
        return self.folder / "parts" / f"{name}.json"

    def has(self, name: str) -> bool:
        """Whether a part has been computed."""
        return self.path(name).exists()

    def get(self, name: str, kind: type[Record], make: Callable[[], Record]) -> Record:
        """A part of a kind: made and written whole if it has not been computed before; then read,
        so that a run in one go and one that was stopped have the same numbers.
        """
        if not self.has(name):
            write_json(self.path(name), plain(make()))
        return read_record(kind, read_json(self.path(name)), name=str(self.path(name)))


def _require_same(found: Any, wanted: Any, folder: Path) -> None:
    if found == wanted:
        return
    known = found if isinstance(found, dict) else {}
    differing = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
    key = differing[0] if differing else "format"
    raise InputError(
        f"{folder} holds a run with {key}={known.get(key)!r}, not {wanted.get(key)!r}; choose "
        "another folder, or delete it to start anew"
    )
