"""Rows in several safetensors files, each opened only while rows are copied from it."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import UnavailableError
from interp.core.rows import new_rows

VALUES = "values"


@dataclass(frozen=True)
class Shards:
    """Shards of one width and type, in order; `first` numbers the first row of each."""

    paths: tuple[Path, ...]
    first: tuple[int, ...]
    shape: tuple[int, int]
    dtype: torch.dtype

    def read(self, runs: Sequence[range]) -> Float[Tensor, "kept d"]:
        """The rows of ascending runs of row numbers, run by run.

        Raises:
            UnavailableError: a shard cannot be read any more.
        """
        found = new_rows((sum(len(run) for run in runs), self.shape[1]), self.dtype)
        start = 0
        for number, pieces in groupby(self._pieces(runs), key=lambda piece: piece[0]):
            # Closed at once: a mapped file's pages count as this process's memory while it is open.
            with _opened(self.paths[number]) as values:
                for _, rows in pieces:
                    found[start : start + len(rows)] = values[rows.start : rows.stop]
                    start += len(rows)
        return found

    def _pieces(self, runs: Sequence[range]) -> Iterator[tuple[int, range]]:
        """Runs cut at the ends of shards: the shard's number, and row numbers within it."""
        for run in runs:
            start = run.start
            while start < run.stop:
                number = bisect_right(self.first, start) - 1
                end = self.first[number + 1] if number + 1 < len(self.first) else self.shape[0]
                stop = min(run.stop, end)
                yield number, range(start - self.first[number], stop - self.first[number])
                start = stop

    def __str__(self) -> str:
        return f"{len(self.paths)} shards in {self.paths[0].parent}"


def open_shards(paths: Sequence[Path]) -> Shards:
    """The shards at some paths, checked by their headers.

    Raises:
        UnavailableError: there is none, one is missing, short or something else, or widths or types
            differ.
    """
    if not paths:
        raise UnavailableError("cannot read activations without a shard; record again")
    headers = [_header(path) for path in paths]
    _, width, dtype = headers[0]
    for path, (_, own_width, own_dtype) in zip(paths, headers, strict=True):
        if (own_width, own_dtype) != (width, dtype):
            raise UnavailableError(
                f"cannot read {path}: it is {own_width} wide of {own_dtype}, the first shard "
                f"{width} of {dtype}; record again or restore the right file"
            )
    *first, total = accumulate((rows for rows, _, _ in headers), initial=0)
    return Shards(tuple(paths), tuple(first), (total, width), dtype)


def _header(path: Path) -> tuple[int, int, torch.dtype]:
    with _opened(path) as values:
        shape = values.get_shape()
        if len(shape) != 2:
            raise UnavailableError(
                f"cannot read {path}: its values are {shape}, expected [row, d]; record again or "
                "restore the right file"
            )
        return shape[0], shape[1], values[:0].dtype


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import safetensors

    try:
        with safetensors.safe_open(path, "pt") as file:
            yield file.get_slice(VALUES)
    except (OSError, safetensors.SafetensorError) as error:
        if isinstance(error, UnavailableError):
            raise
        raise UnavailableError(
            f"cannot read {path}: {error}; record again or restore the missing file"
        ) from error
