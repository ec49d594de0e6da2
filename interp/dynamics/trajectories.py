"""Trajectories: one training run in concept space."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.core import InputError, Score, bootstrap_mean
from interp.core.display.marks import curve
from interp.core.display.markup import Html, block, element, foreign, table
from interp.core.display.scores import axis_note, score_cells
from interp.core.files import read_json, write_json
from interp.core.names import require_known
from interp.dynamics import learning_times as learning
from interp.dynamics import turns
from interp.dynamics.learning_times import (
    LearningRule,
    LearningTime,
    learning_time,
    require_unit,
    rising,
    smoothed,
)
from interp.dynamics.turns import Turn, TurnRule, find_turn


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Trajectories:
    """A run's checkpoints on every axis of concept space.

    `samples[axis]` are values from 0 to 1 (a probability, or whether an answer is right); their
    mean is the run's coordinate on the axis.

    Raises:
        InputError: steps that do not rise, no axes, not one row per step, or values outside 0 to 1.

    Example:
        >>> run.coordinates.shape, run.learning_times(LearningRule(threshold=0.8))
    """

    steps: tuple[int, ...]
    samples: Mapping[str, Float[np.ndarray, "checkpoint sample"]]
    name: str = ""
    seed: int = 0
    notes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        rising(self.steps)
        if not self.samples:
            raise InputError("there are no axes; give at least one")
        for axis, values in self.samples.items():
            if values.ndim != 2 or len(values) != len(self.steps):
                raise InputError(
                    f"axis {axis!r} has values {values.shape} for {len(self.steps)} "
                    "checkpoints; give [checkpoint, sample]"
                )
            require_unit(f"axis {axis!r}", values)

    def __repr__(self) -> str:
        return (
            f"Trajectories({self.name or 'run'}: {len(self.steps)} checkpoints to step "
            f"{self.steps[-1]:,}, axes {', '.join(self.axes)})"
        )

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes."""
        return tuple(self.samples)

    @property
    def coordinates(self) -> Float[np.ndarray, "checkpoint axis"]:
        """The mean of every axis at every checkpoint."""
        return np.stack([values.mean(axis=1) for values in self.samples.values()], axis=1)

    def at(self, axis: str, checkpoint: int) -> Score:
        """A coordinate with its interval over samples."""
        require_known("axis", axis, self.axes)
        return bootstrap_mean(self.samples[axis][checkpoint], seed=self.seed)

    def joint(self) -> Float[np.ndarray, " checkpoint"]:
        """The product over axes: the joint accuracy of independent axes (Park et al. 2024)."""
        return np.asarray(self.coordinates.prod(axis=1))

    def smoothed(self, sd: float = 2.0) -> Float[np.ndarray, "checkpoint axis"]:
        """The coordinates, smoothed by a Gaussian with standard deviation `sd` checkpoints."""
        return smoothed(self.coordinates, sd)

    def speed(self, sd: float = 0.0) -> Float[np.ndarray, " checkpoint"]:
        """`‖dC/dt‖` per training step, by (central) differences between checkpoints.

        Raises:
            InputError: a single checkpoint.
        """
        if len(self.steps) < 2:
            raise InputError("a single checkpoint has no speed; give at least two")
        return np.asarray(
            np.linalg.norm(
                np.gradient(self.smoothed(sd), np.asarray(self.steps, dtype=float), axis=0), axis=1
            )
        )

    def learning_times(self, rule: LearningRule = learning.RULE) -> dict[str, LearningTime]:
        """When each axis was learned, and `joint`, their product."""
        found = {
            axis: learning_time(self.steps, values.mean(axis=1), rule)
            for axis, values in self.samples.items()
        }
        return found | {"joint": learning_time(self.steps, self.joint(), rule)}

    def turn(
        self,
        first: str,
        second: str,
        rule: TurnRule = turns.RULE,
        *,
        noise: Float[np.ndarray, "place 2"] | None = None,
        seed: int = 0,
    ) -> Turn:
        """The largest turn in the plane of two axes (`find_turn`)."""
        for axis in (first, second):
            require_known("axis", axis, self.axes)
        way = np.stack([self.samples[axis].mean(axis=1) for axis in (first, second)], axis=1)
        return find_turn(self.steps, way, rule, noise=noise, seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """Everything as json-ready values."""
        return {
            "name": self.name,
            "seed": self.seed,
            "steps": list(self.steps),
            "samples": {
                axis: np.round(values, 6).tolist() for axis, values in self.samples.items()
            },
            "notes": dict(self.notes),
        }

    def save(self, path: str | Path) -> Path:
        """Write a json file, whole or not at all."""
        write_json(Path(path), self.to_dict())
        return Path(path)

    def _repr_html_(self) -> str:
        times = self.learning_times()
        charts = [
            self._chart(axis, values, times[axis])
            for axis, values in zip(self.axes[:CHARTS], self.coordinates.T, strict=False)
        ]
        cut = f"; the first {CHARTS} axes are drawn" if len(self.axes) > CHARTS else ""
        legend = f"Dashed: learned, {learning.RULE}{cut}"
        about = f"{len(self.steps)} checkpoints to step {self.steps[-1]:,}"
        drawn = (
            element("div", *charts, kind="row"),
            element("p", legend, kind="muted"),
            self._ends(times),
        )
        return block("Trajectories", *drawn, name=self.name, about=about)

    def _chart(
        self, axis: str, values: Float[np.ndarray, " checkpoint"], time: LearningTime
    ) -> Html:
        return curve(
            self.steps,
            values.tolist(),
            title=axis,
            x_title="training step",
            y_title="coordinate",
            at=time.step,
        )

    def _ends(self, times: Mapping[str, LearningTime]) -> Html:
        first = [self.at(axis, 0) for axis in self.axes]
        last = [self.at(axis, -1) for axis in self.axes]
        cells = score_cells([*first, *last])
        columns = (
            cells[: len(first)],
            cells[len(first) :],
            [str(times[axis]) for axis in self.axes],
            [score.n for score in last],
        )
        rows = [(foreign(axis), *own) for axis, *own in zip(self.axes, *columns, strict=True)]
        header = (
            "axis",
            f"at step {self.steps[0]:,}",
            f"at step {self.steps[-1]:,}",
            "learned at step",
            "samples",
        )
        return table(header, rows, caption=f"Mean over samples ({axis_note([*first, *last])})")


CHARTS = 12


def load_trajectories(path: str | Path) -> Trajectories:
    """Read what `Trajectories.save` wrote.

    Raises:
        InputError: the file holds something else.
    """
    found = read_json(Path(path))
    if not isinstance(found, dict) or not {"steps", "samples"} <= set(found):
        raise InputError(f"{path} holds no trajectories; give a file that Trajectories.save wrote")
    samples = {axis: np.asarray(values, dtype=float) for axis, values in found["samples"].items()}
    return Trajectories(
        steps=tuple(found["steps"]),
        samples=samples,
        name=found.get("name", ""),
        seed=found.get("seed", 0),
        notes=found.get("notes", {}),
    )
