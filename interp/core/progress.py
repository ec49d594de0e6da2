"""Progress as a callback: the library never prints, each front end shows it in its own way."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called with the stage's name, the units done, their total and what a unit is."""

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None: ...


def silent(stage: str, done: int, total: int, unit: str) -> None:
    """The default, which shows nothing."""
