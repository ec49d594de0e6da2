"""A user's own task from a file of json lines."""

import json
from pathlib import Path
from typing import Any

from interp.core import InputError
from interp.corpus.tasks import Task

FIELDS = ("prompt", "counterfactual", "right", "wrong")


def read_task(path: Path) -> Task:
    """A task from json lines with `prompt`, `counterfactual`, `right` and `wrong`.

    An answer is a text with its leading space, or a list of such texts.

    Raises:
        InputError: the file cannot be read, or the named line is not json or lacks a field.

    Example:
        >>> # {"prompt": "The capital of France is", "counterfactual": "The capital of Spain is",
        ... #  "right": " Paris", "wrong": " Madrid"}
        >>> read_task(Path("capitals.jsonl"))
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read as text ({error}); give a file of json lines with "
            f"{', '.join(FIELDS)}"
        ) from None
    numbered = enumerate(text.splitlines(), 1)
    rows = [_row(path, number, line) for number, line in numbered if line.strip()]
    if not rows:
        raise InputError(f"{path} is empty; give json lines with {', '.join(FIELDS)}")
    return Task(
        name=path.stem,
        behaviour=f"answers as {path.name} says",
        source=path.name,
        changed="as the file says",
        measure="logit difference",
        prompts=tuple(row["prompt"] for row in rows),
        counterfactuals=tuple(row["counterfactual"] for row in rows),
        right=tuple(_answers(row["right"]) for row in rows),
        wrong=tuple(_answers(row["wrong"]) for row in rows),
        seed=0,
    )


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(
            f"line {number} of {path} is not json ({error.msg}); every line is an object with "
            f"{', '.join(FIELDS)}"
        ) from None
    missing = [name for name in FIELDS if not isinstance(row, dict) or not row.get(name)]
    if missing:
        raise InputError(
            f"line {number} of {path} has no {', '.join(missing)}; every line is an object with "
            f"{', '.join(FIELDS)}"
        )
    return dict(row)


def _answers(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
