"""Progress as a plain callback, so that the library never prints and every front end shows it its
own way.
"""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Called with the stage's name, how many units are done, how many there are and what a unit
    is.
    """

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None: ...


def silent(stage: str, done: int, total: int, unit: str) -> None:
    """The default: show nothing."""
