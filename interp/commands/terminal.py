"""Progress and tables in a terminal."""

import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from interp.core.progress import Progress, silent


@contextmanager
def progress_display(quiet: bool) -> Iterator[Progress]:
    """A progress display during a block: bars in a terminal, lines elsewhere, nothing if `quiet`.

    Warnings take one line each, also if `quiet`.
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
    Console(markup=False).print(drawn)


def _warning_line(
    message: Warning | str, category: type[Warning], *place: object, **more: object
) -> None:
    sys.stderr.write(f"{category.__name__}: {' '.join(str(message).split())}\n")


def _ends(done: int, total: int) -> bool:
    # A download of unknown size has a total of 0.
    return 0 < total <= done


def _rate(speed: float | None) -> str:
    return "" if not speed else f"{speed:,.1f}/s"


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class Rate(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            return Text(_rate(task.finished_speed or task.speed), style="progress.data.speed")

    # Fits 80 columns with the longest stage's name.
    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=12),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[unit]}", markup=False),
        Rate(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, rich.TaskID] = {}

        def progress(stage: str, done: int, total: int, unit: str) -> None:
            if stage not in tasks:
                _stop(bars, tasks)
                tasks[stage] = bars.add_task(stage, total=total or None, unit=unit)
            bars.update(tasks[stage], completed=done, total=total or None)
            if _ends(done, total):
                # The same stage may run again, for another site or method, with a new bar.
                del tasks[stage]

        yield progress
        _stop(bars, tasks)


def _stop(bars: Any, tasks: dict[Any, Any]) -> None:
    """End open stages: when the next one begins, they have converged before their last step."""
    for task in tasks.values():
        bars.update(task, total=bars.tasks[task].completed)
    tasks.clear()


class _Lines:
    """A line when a stage begins and ends, and at most one every ten seconds between."""

    def __init__(self) -> None:
        self._stage: str | None = None
        self._started = self._printed = 0.0

    def __call__(self, stage: str, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        first = stage != self._stage
        if first:
            self._stage, self._started = stage, now
        if first or _ends(done, total) or now - self._printed > 10:
            self._printed = now
            rate = _rate(done / (now - self._started)) if now > self._started else ""
            sys.stderr.write(f"{stage}: {done}/{total or '?'} {unit}{rate and ', ' + rate}\n")
            sys.stderr.flush()
        if _ends(done, total):
            self._stage = None
