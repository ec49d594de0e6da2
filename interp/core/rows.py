"""Rows that need not be in memory: a tensor that reads the rows it is indexed with, and chunks."""

import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core.errors import InputError

CPU_CHUNK = 4096
DEVICE_CHUNK = 65536
ROW_MEMORY = 64 * 2**20
OWN_PAGES = 2**20


@runtime_checkable
class RowSource(Protocol):
    """Where rows come from: a file, a folder of shards."""

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and their width."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The type in which they are stored."""
        ...

    def read(self, runs: Sequence[range]) -> Float[Tensor, "kept d"]:
        """The rows of ascending runs of row numbers, run by run."""
        ...


class Rows(Tensor):
    """A tensor `[row, d]` whose values are read when it is indexed by rows.

    It has a tensor's shape, type, device and length, and `rows[key]` gives an ordinary tensor for a
    row's number, a slice, row numbers in any order, or a mask. So code that reads activations by
    rows takes it unchanged, with memory for the rows that it reads. All other tensor operations
    would need every value at once, and are refused.

    Args:
        source: where the rows are.
        memory: bytes of rows, in float32, that `row_chunks` reads at a time (at most 4096 rows).

    Raises:
        InputError: an operation needs all values, a row's number is out of range, or `memory` does
            not hold one row.

    Cost: one read for each run of neighbouring rows.

    Example:
        >>> rows = open_activations(folder).values
        >>> rows.shape, rows[:10].mean(dim=0)
    """

    source: RowSource
    chunk_rows: int

    @staticmethod
    def __new__(cls, source: RowSource, memory: int = ROW_MEMORY) -> "Rows":
        rows: Rows = Tensor._make_wrapper_subclass(
            cls, source.shape, dtype=source.dtype, device=torch.device("cpu")
        )
        return rows

    def __init__(self, source: RowSource, memory: int = ROW_MEMORY) -> None:
        row_bytes = 4 * source.shape[1]
        if memory < row_bytes:
            raise InputError(f"memory is {memory} bytes; expected at least one row's, {row_bytes}")
        self.source = source
        self.chunk_rows = memory // max(1, row_bytes)

    def __getitem__(self, key: Any) -> Tensor:
        if isinstance(key, int | np.integer):
            return self._gather(_numbers([int(key)], len(self)))[0]
        if isinstance(key, slice) and (key.step or 1) == 1:
            return self.source.read([range(len(self))[key]])
        return self._gather(_numbers(key, len(self)))

    def index_select(self, dim: int, index: Int[Tensor, " kept"]) -> Tensor:
        """Rows by their numbers, as `rows[index]`."""
        if dim != 0:
            raise _refusal(f"index_select along {dim}")
        return self[index]

    def _gather(self, numbers: Int[Tensor, " kept"]) -> Float[Tensor, "kept d"]:
        """Reads each row once, in order, then puts the rows in the requested order."""
        distinct, places = torch.unique(numbers, return_inverse=True)
        found = self.source.read(_runs(distinct))
        return found if torch.equal(distinct, numbers) else found[places]

    # Every tensor operation arrives at the dispatcher, so none needs an override by name.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> NoReturn:
        raise _refusal(str(func))

    def numpy(self, *, force: bool = False) -> NoReturn:
        """Refused, as it would read everything."""
        raise _refusal("numpy")

    def tolist(self) -> NoReturn:
        """Refused, as it would read everything."""
        raise _refusal("tolist")

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Rows({len(self):,} × {self.shape[1]:,}, {self.dtype}, read from {self.source})"


def row_chunks(values: Float[Tensor, "row d"]) -> Iterator[tuple[slice, Float[Tensor, "chunk d"]]]:
    """Consecutive rows in float32 with their place; CPU chunks are small, so that their
    coefficients stay in the cache.
    """
    for rows in chunk_places(values):
        yield rows, _float32(values[rows].detach())


def chunk_places(values: Float[Tensor, "row d"]) -> Iterator[slice]:
    """The places of the chunks of `row_chunks`; nothing is read."""
    size = CPU_CHUNK if values.device.type == "cpu" else DEVICE_CHUNK
    if isinstance(values, Rows):
        size = min(size, values.chunk_rows)
    for start in range(0, len(values), size):
        yield slice(start, min(start + size, len(values)))


def new_rows(shape: tuple[int, int], dtype: torch.dtype) -> Float[Tensor, "row d"]:
    """Uninitialised memory for rows on the CPU; if large, it returns to the system with the tensor.

    The heap would keep it: what is stored from one chunk lands in the hole the chunk before left,
    where the next chunk then no longer fits, so that a pass leaves one hole per chunk (11 GB for
    6 GB of rows).
    """
    size = math.prod(shape) * dtype.itemsize
    if size < OWN_PAGES:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(mmap.mmap(-1, size), dtype=dtype).view(shape)


def _float32(rows: Float[Tensor, "chunk d"]) -> Float[Tensor, "chunk d"]:
    if rows.dtype == torch.float32 or rows.device.type != "cpu":
        return rows.to(torch.float32)
    return new_rows((rows.shape[0], rows.shape[1]), torch.float32).copy_(rows)


def _refusal(operation: str) -> InputError:
    return InputError(
        f"{operation} needs all rows in memory, and these are on disk; index some rows, or load "
        "them with acts.in_memory()"
    )


def _numbers(key: Any, count: int) -> Int[Tensor, " kept"]:
    """Row numbers from a key, none negative."""
    if isinstance(key, slice):
        return torch.tensor(list(range(count)[key]), dtype=torch.int64)
    try:
        index = key.cpu() if isinstance(key, Tensor) else torch.tensor(key)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"rows on disk are indexed by row numbers, a slice or a mask, not {key!r}"
        ) from None
    if index.dtype == torch.bool and index.shape == (count,):
        return torch.nonzero(index).flatten()
    whole = index.ndim == 1 and not index.is_floating_point() and index.dtype != torch.bool
    if not whole and index.numel():
        raise InputError(
            f"rows on disk are indexed by row numbers, a slice or a mask of {count} rows, not "
            f"{index.dtype} {tuple(index.shape)}"
        )
    numbers = index.flatten().to(torch.int64)
    outside = (numbers < -count) | (numbers >= count)
    if bool(outside.any()):
        raise InputError(f"row {int(numbers[outside][0])} is out of range; there are {count} rows")
    return torch.where(numbers < 0, numbers + count, numbers)


def _runs(numbers: Int[Tensor, " kept"]) -> list[range]:
    """Ascending row numbers as runs of neighbours."""
    if not len(numbers):
        return []
    ends = torch.cat(
        [torch.nonzero(numbers.diff() != 1).flatten(), torch.tensor([len(numbers) - 1])]
    )
    last = numbers[ends].tolist()
    first = numbers[torch.cat([torch.tensor([0]), ends[:-1] + 1])].tolist()
    return [range(start, stop + 1) for start, stop in zip(first, last, strict=True)]
