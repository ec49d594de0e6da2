"""What `plain` makes of a record, `read_record` reads back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from interp.core import InputError, Score
from interp.core.plain import plain
from interp.core.reading import read_record


@dataclass(frozen=True, kw_only=True)
class Part:
    count: int = field(metadata={"key": "at least 3"})
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Whole:
    parts: tuple[Part, ...]
    scores: Mapping[str, Score]
    words: tuple[str, ...]
    settings: Mapping[str, Any]


WHOLE = Whole(
    parts=(Part(count=3, share=0.5), Part(count=4)),
    scores={"a": Score(0.5, 0.25, 0.75, n=4, seed=0)},
    words=("one", "two"),
    settings={"any": [1, None]},
)


def test_a_record_reads_back() -> None:
    assert read_record(Whole, plain(WHOLE)) == WHOLE
    assert plain(WHOLE)["parts"][1] == {"at least 3": 4, "share": None}
    assert read_record(Part, {"at least 3": 4, "unknown": 1}) == Part(count=4)


def test_null_is_nan_in_a_score_and_nowhere_else() -> None:
    undefined = Score(math.nan, math.nan, math.nan, n=0, seed=0)
    read = read_record(Score, plain(undefined))
    assert math.isnan(read.value)
    assert read.control is None
    with pytest.raises(InputError, match="the file has NoneType at 'at least 3', expected int"):
        read_record(Part, {"at least 3": None})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "list at 'the top', expected Mapping"),
        (plain(WHOLE) | {"parts": [{}]}, r"lacks 'parts\[0\].at least 3'"),
        (plain(WHOLE) | {"words": ["one", 2]}, r"int at 'words\[1\]', expected str"),
        (plain(WHOLE) | {"scores": {"a": {"value": 1}}}, "lacks 'scores.a.low'"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_record(Whole, values)
