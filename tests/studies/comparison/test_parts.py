"""Parts are made once and belong to one set of settings."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from interp.core import InputError
from interp.studies.comparison.parts import Parts


@dataclass(frozen=True)
class Number:
    number: int


def test_a_part_is_made_once_and_read_afterwards(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Number:
        made.append(1)
        return Number(7)

    first = Parts.of(tmp_path, {"seed": 0})
    assert first.get("a", Number, make) == Number(7)
    again = Parts.of(tmp_path, {"seed": 0})
    assert again.get("a", Number, make) == Number(7)
    assert len(made) == 1


def test_a_part_whose_making_fails_leaves_nothing(tmp_path: Path) -> None:
    parts = Parts.of(tmp_path, {"seed": 0})
    with pytest.raises(ZeroDivisionError):
        parts.get("a", Number, lambda: Number(1 // 0))
    assert not parts.has("a")


def test_other_settings_are_refused_and_the_difference_is_named(tmp_path: Path) -> None:
    Parts.of(tmp_path, {"seed": 0, "sites": ("L1.mlp",)})
    Parts.of(tmp_path, {"seed": 0, "sites": ("L1.mlp",)})
    with pytest.raises(InputError, match=r"holds a run with seed=0, not 1"):
        Parts.of(tmp_path, {"seed": 1, "sites": ("L1.mlp",)})
