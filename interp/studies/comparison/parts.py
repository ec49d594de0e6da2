"""Parts of a long computation on disk, each computed once, so that a stopped run can resume."""

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
    """A folder of json parts of one set of settings."""

    folder: Path

    @classmethod
    def of(cls, folder: str | Path, settings: Any) -> "Parts":
        """The parts in a folder, made for these settings if new.

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
        """The path of a part."""
        return self.folder / "parts" / f"{name}.json"

    def has(self, name: str) -> bool:
        """Whether a part has been computed."""
        return self.path(name).exists()

    def get(self, name: str, kind: type[Record], make: Callable[[], Record]) -> Record:
        """A part, made and written if missing, then read: a resumed run has the same numbers as one
        in one go.
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
