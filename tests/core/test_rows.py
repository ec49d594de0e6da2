"""Rows that are read when they are indexed: the same values as the tensor's, in few reads, and
never all of them unasked.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance
from interp.core.rows import Rows, RowSource, row_chunks

VALUES = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))


class Counted:
    """A tensor as a source that notes what is read."""

    def __init__(self, values: torch.Tensor = VALUES) -> None:
        self.values, self.reads = values, list[list[range]]()

    @property
    def shape(self) -> tuple[int, int]:
        return (len(self.values), self.values.shape[1])

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    def read(self, runs: Sequence[range]) -> torch.Tensor:
        self.reads.append(list(runs))
        return torch.cat([self.values[:0], *(self.values[run.start : run.stop] for run in runs)])


def test_rows_look_like_the_tensor_and_reading_its_shape_reads_nothing() -> None:
    source = Counted(VALUES.half())
    assert isinstance(source, RowSource)
    rows = Rows(source)
    assert isinstance(rows, torch.Tensor)
    assert (rows.shape, rows.dtype, len(rows), rows.ndim, rows.numel()) == (
        VALUES.shape,
        torch.float16,
        50,
        2,
        150,
    )
    assert rows.is_floating_point()
    assert "Rows(50 × 3" in repr(rows)
    assert source.reads == []


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(3, 9),
        slice(40, 99),
        slice(9, 3),
        slice(-4, None),
        slice(None, None, 7),
        slice(30, 10, -3),
        [],
        [4],
        [7, 7, 3, -1, 49],
        np.array([20, 21, 22, 5]),
        np.arange(50) % 3 == 0,
        torch.tensor([5, 4, 3, 5]),
        torch.arange(50) > 44,
    ],
    ids=str,
)
def test_every_way_of_choosing_rows_gives_the_tensors_own(key: object) -> None:
    if isinstance(key, slice) and key.step and key.step < 0:
        expected = torch.from_numpy(VALUES.numpy()[key].copy())
    else:
        expected = VALUES[
            torch.tensor([], dtype=torch.int64) if isinstance(key, list) and not key else key
        ]
    found = Rows(Counted())[key]
    assert type(found) is torch.Tensor
    assert torch.equal(found, expected)


def test_one_row() -> None:
    assert torch.equal(Rows(Counted())[-2], VALUES[48])
    assert torch.equal(Rows(Counted())[np.int64(3)], VALUES[3])


def test_rows_can_be_selected_and_columns_not() -> None:
    assert torch.equal(Rows(Counted()).index_select(0, torch.tensor([4, 4, 0])), VALUES[[4, 4, 0]])
    with pytest.raises(InputError, match="index_select along 1 needs all rows"):
        Rows(Counted()).index_select(1, torch.tensor([0]))


def test_scattered_rows_are_read_once_in_order_and_neighbours_together() -> None:
    source = Counted()
    Rows(source)[torch.tensor([30, 8, 31, 9, 8, 2, 32])]
    assert source.reads == [[range(2, 3), range(8, 10), range(30, 33)]]


@pytest.mark.parametrize(
    "operation",
    [
        lambda rows: rows + 1,
        lambda rows: rows.double(),
        lambda rows: rows.norm(dim=1),
        lambda rows: rows.T,
        lambda rows: torch.cat([rows, rows]),
        lambda rows: torch.ones(2, 50) @ rows,
        lambda rows: rows.numpy(),
        lambda rows: np.asarray(rows),
        lambda rows: rows.tolist(),
        lambda rows: list(rows),
        lambda rows: rows.__setitem__(0, torch.zeros(3)),
    ],
)
def test_what_needs_all_rows_is_refused_in_one_line_and_reads_nothing(
    operation: Callable[[torch.Tensor], object],
) -> None:
    source = Counted()
    with pytest.raises(InputError, match=r"needs all rows in memory.*in_memory\(\)") as caught:
        operation(Rows(source))
    assert "\n" not in str(caught.value)
    assert source.reads == []
    operation(VALUES.clone())


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (50, "row 50 is out of range; there are 50"),
        ([0, -51], "row -51 is out of range"),
        (torch.zeros(2, 2, dtype=torch.int64), r"not torch.int64 \(2, 2\)"),
        ([True, False], "mask of 50 rows"),
        (torch.ones(3), "not torch.float32"),
        ((slice(None), 1), "row numbers, a slice or a mask, not"),
        (None, "row numbers, a slice or a mask, not"),
    ],
)
def test_rows_that_are_not_there_are_named(key: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Rows(Counted())[key]


def test_chunks_keep_the_order_and_the_memory() -> None:
    source = Counted(VALUES.double())
    chunks = list(row_chunks(Rows(source, memory=7 * 3 * 4)))
    assert torch.equal(torch.cat([chunk for _, chunk in chunks]), VALUES.double().float())
    assert {len(chunk) for _, chunk in chunks} == {7, 1}
    assert {chunk.dtype for _, chunk in chunks} == {torch.float32}
    assert max(len(run) for read in source.reads for run in read) == 7
    assert len(list(row_chunks(Rows(Counted())))) == 1, (
        "control: with ordinary memory it is one chunk"
    )
    with pytest.raises(InputError, match="memory is 11 bytes; expected at least one row's, 12"):
        Rows(Counted(), memory=11)


def test_activations_of_rows_take_rows_into_memory_and_name_what_is_not_finite() -> None:
    broken = VALUES.clone()
    broken[[33, 41], 1] = torch.nan
    n = np.arange(50)
    contexts = Contexts(item=n // 10, position=n % 10, step=n * 0, items=tuple("abcde"))
    acts = Activations(
        Rows(Counted(broken), memory=5 * 12), contexts, "L0.mlp", Provenance("record")
    )
    assert repr(acts) == "Activations(L0.mlp: 50 rows × 3, 5 inputs, torch.float32)"
    taken = acts.take(np.array([40, 2]))
    assert torch.equal(taken.values, VALUES[[40, 2]])
    assert taken.contexts.item.tolist() == [4, 0]
    assert type(acts.in_memory().values) is torch.Tensor
    for kind in (acts, acts.in_memory()):
        with pytest.raises(
            InputError,
            match=(
                r"2 of 50 rows of L0.mlp are not finite, first row 33: token '#3' at position 3 "
                r"of input 3"
            ),
        ):
            kind.require_finite()
    acts.take(np.arange(33)).require_finite()
