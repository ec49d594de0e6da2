"""Whole jobs give the numbers that were written down before the house was rearranged: a refactor
moves none of them.
"""

import json
from pathlib import Path
from typing import Any

import golden_runs
import pytest

WRITTEN = Path(__file__).parent / "golden"
RELATIVE, ABSOLUTE = 1e-3, 1e-5
"""What another processor's rounding may change; on one machine the files are equal byte by byte."""


def differences(value: Any, expected: Any, path: str = "") -> list[str]:
    """Where two json values differ in structure, in text, or in a number by more than rounding."""
    if isinstance(expected, dict) and isinstance(value, dict) and value.keys() == expected.keys():
        return [
            found
            for key in expected
            for found in differences(value[key], expected[key], f"{path}.{key}")
        ]
    if isinstance(expected, list) and isinstance(value, list) and len(value) == len(expected):
        return [
            found
            for place in range(len(expected))
            for found in differences(value[place], expected[place], f"{path}[{place}]")
        ]
    if (
        isinstance(expected, float)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        return (
            []
            if value == pytest.approx(expected, rel=RELATIVE, abs=ABSOLUTE)
            else [f"{path}: {value} for {expected}"]
        )
    return [] if value == expected else [f"{path}: {value!r:.80} for {expected!r:.80}"]


@pytest.mark.parametrize("name", golden_runs.JOBS)
def test_a_job_gives_the_numbers_that_were_written_down(name: str) -> None:
    expected = json.loads((WRITTEN / f"{name}.json").read_text(encoding="utf-8"))
    assert differences(golden_runs.golden(name), expected) == []


def test_a_number_that_moved_is_named() -> None:
    assert differences({"a": [1.0, 2.02]}, {"a": [1.0, 2.0]}) == [".a[1]: 2.02 for 2.0"]
    assert differences({"a": 1.0 + 1e-5}, {"a": 1.0}) == []
    assert differences({"a": None}, {"a": 1.0}) == [".a: None for 1.0"]
