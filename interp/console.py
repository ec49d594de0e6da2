"""What a terminal shows: progress and tables."""

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from interp.core.progress import Progress, silent


@contextmanager
def shown(quiet: bool) -> Iterator[Progress]:
    """A progress display for the length of a block: bars with rate and estimate in a terminal, plain lines elsewhere, nothing with `quiet`.

    Warnings of the package take one line each, with and without `quiet`.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _warning_line
        if quiet:
            yield silent
        elif sys.stderr.isatty():
            with _bars() as progress:
                yield progress
        else:
            yield _Lines()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: aligned in a terminal, tab-separated when piped."""
    from rich.console import Console
    from rich.table import Table

    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in [header, *rows])
        return
    drawn = Table(*header, box=None, header_style="bold")
    for row in rows:
        drawn.add_row(*row)
    Console().print(drawn)


def _warning_line(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
    sys.stderr.write(f"{category.__name__}: {' '.join(str(message).split())}\n")


def _rate(speed: float | None, unit: str) -> str:
    return "" if not speed else f"{speed:.1f} {unit}/s"


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(_rate(task.finished_speed or task.speed, task.fields["unit"]), style="progress.data.speed")

    columns = (
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int, unit: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, unit=unit)
            bars.update(tasks[stage], completed=done, total=total)
            if done >= total:
                # The same stage may run again, for another site or method: it gets a bar of its own.
                del tasks[stage]

        yield progress


class _Lines:
    """One line when a stage begins, at most one every ten seconds while it runs, one when it ends."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._printed = 0.0

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        first = stage not in self._started
        start = self._started.setdefault(stage, now)
        if done >= total:
            del self._started[stage]
        if first or done >= total or now - self._printed > 10:
            self._printed = now
            rate = _rate(done / (now - start), unit) if now > start else ""
            sys.stderr.write(f"{stage}: {done}/{total} {unit}{rate and ', ' + rate}\n")
            sys.stderr.flush()
