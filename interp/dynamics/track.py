"""Following concepts over the checkpoints of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interp.core import InputError, Progress, Score, silent
from interp.dynamics.checkpoints import (
    Checkpoint,
    checked,
    checkpoints_of,
    require_alike,
    shapes_of,
)
from interp.dynamics.learning_times import require_unit
from interp.dynamics.trajectories import Trajectories


@dataclass(frozen=True)
class Axis:
    """An axis of concept space: `measure(model)` gives a value from 0 to 1 for each of a fixed
    number of samples.

    `oracle` is the accuracy of its reader where the truth is known; an axis with an oracle below
    `at_least` is refused, since learning what cannot be read would go unseen.

    Example:
        >>> Axis(
        ...     "colour", lambda model: reads_blue(sample_class(model, 3)), oracle=accuracy_on_data
        ... )
    """

    measure: Callable[[Any], Any]
    oracle: Score | None = None
    at_least: float = 0.9


def track(
    checkpoints: str | Path | Sequence[Checkpoint] | Sequence[tuple[int, Callable[[], Any]]],
    concepts: Mapping[str, Axis | Callable[[Any], Any]],
    *,
    name: str = "",
    seed: int = 0,
    progress: Progress = silent,
) -> Trajectories:
    """Measure every concept at every checkpoint. One checkpoint is in memory at a time.

    Args:
        checkpoints: from `checkpoints_of`, or an argument of it: a folder, or (step, loader) pairs.
        concepts: an `Axis` by name, or a function from a model to values from 0 to 1.

    Raises:
        InputError: checkpoints out of order, a single one, or of different networks; no concept,
            one that its reader cannot tell apart (with the accuracy), or one whose number of values
            changes.
        UnavailableError: a checkpoint cannot be loaded.

    Cost: loading every checkpoint once, and the measures.

    Example:
        >>> run = track("runs/shapes", {"colour": colour, "size": size})
        >>> run.learning_times()
    """
    axes = {
        concept: item if isinstance(item, Axis) else Axis(item)
        for concept, item in concepts.items()
    }
    if not axes:
        raise InputError("no concept was given; give at least one, with what measures it")
    for concept, axis in axes.items():
        if axis.oracle is not None and axis.oracle.value < axis.at_least:
            raise InputError(
                f"{concept!r} is not told apart by its reader: accuracy {axis.oracle}, "
                f"expected {axis.at_least}; leave it out"
            )
    points = _points(checkpoints)
    samples: dict[str, list[np.ndarray]] = {concept: [] for concept in axes}
    first: dict[str, tuple[int, ...]] | None = None
    for place, point in enumerate(points):
        model = point.load()
        shapes = shapes_of(model)
        if shapes is not None:
            first = first or shapes
            require_alike(first, shapes, str(point))
        for concept, axis in axes.items():
            samples[concept].append(_measured(axis, model, concept, str(point), samples[concept]))
        del model
        progress("track", place + 1, len(points), "checkpoint")
    return Trajectories(
        steps=tuple(point.step for point in points),
        samples={concept: np.stack(rows) for concept, rows in samples.items()},
        name=name,
        seed=seed,
    )


def _points(checkpoints: Any) -> list[Checkpoint]:
    if not isinstance(checkpoints, (str, Path)) and all(
        isinstance(point, Checkpoint) for point in checkpoints
    ):
        return checked(checkpoints)
    return checkpoints_of(checkpoints)


def _measured(
    axis: Axis, model: Any, concept: str, point: str, before: list[np.ndarray]
) -> np.ndarray:
    values = np.asarray(axis.measure(model), dtype=float).reshape(-1)
    if len(values) == 0 or (before and len(values) != len(before[0])):
        wanted = len(before[0]) if before else "at least one"
        raise InputError(
            f"{concept!r} gave {len(values)} values at {point}, expected {wanted}; measure the "
            "same samples at every checkpoint"
        )
    require_unit(f"{concept!r} at {point}", values)
    return values
