"""`plain` against values whose json is known, and against `json` itself."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interp.core import InputError, Provenance, Score
from interp.core.plain import plain


@dataclass(frozen=True)
class Inner:
    width: int
    picture: bytes = field(default=b"", metadata={"plain": False})


@dataclass(frozen=True)
class Outer:
    name: str
    parts: tuple[Inner, ...]
    score: Score
    steps: range = field(default=range(2), metadata={"key": "step_numbers"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        ("a", "a"),
        (0.5, 0.5),
        (float("nan"), None),
        (float("inf"), None),
        (range(1, 4), [1, 2, 3]),
        ((1, (2.0, None)), [1, [2.0, None]]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        ({1: {"x": (2,)}}, {"1": {"x": [2]}}),
        (Path("a") / "b", str(Path("a") / "b")),
        (np.float32(0.5), 0.5),
        (np.int64(4), 4),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (np.array(2), 2),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor(0.25), 0.25),
        (torch.tensor([float("-inf")]), [None]),
    ],
)
def test_values_with_a_known_plain_form(value: Any, expected: Any) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


def test_a_dataclass_keeps_the_order_of_its_fields_and_their_metadata() -> None:
    score = Score(0.5, float("nan"), 1.0, n=2, seed=0)
    found = plain(Outer("one", (Inner(3, b"png"),), score))
    assert list(found) == ["name", "parts", "score", "step_numbers"]
    assert found["parts"] == [{"width": 3}]
    assert found["score"] == score.to_dict()
    assert found["score"]["low"] is None
    assert found["step_numbers"] == [0, 1]


def test_what_has_a_to_dict_becomes_that() -> None:
    provenance = Provenance("pca", parameters={"sizes": (1, 2)})
    assert plain([provenance]) == [provenance.to_dict()]


@pytest.mark.parametrize("value", [object(), b"bytes", Inner])
def test_a_value_without_a_plain_form_is_refused_by_its_type(value: Any) -> None:
    with pytest.raises(InputError, match=type(value).__name__):
        plain({"a": [value]})
