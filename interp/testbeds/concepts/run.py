"""A run of the concept network: its settings, what it did at each checkpoint, and its file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8

from interp.core import InputError
from interp.core.files import read_json
from interp.core.names import require_known
from interp.core.provenance import package_versions
from interp.dynamics.learning_times import (
    LearningRule,
    LearningTime,
    learning_time,
    require_unit,
    rising,
)
from interp.dynamics.trajectories import Trajectories
from interp.dynamics.turns import RULE, Turn, find_turn
from interp.testbeds.images.concept_shapes import CONCEPTS, ConceptSignals

Hidden = Literal["none", "colour", "size"]
MEASURES = ("colour", "size", "joint", "seen")
_WANTED = {"signal", "seed", "steps", "naive", "arms", "arm_steps"}


@dataclass(frozen=True, kw_only=True)
class ConceptTrainingSettings:
    """A run: the data's signals, the network, its training, and its measures.

    Prompts are underspecified in a share `hide` of the training images: the parts of the concept
    `hidden` are zero. The arms of `elicitation` are measured at every `arms_every`-th checkpoint. A
    run stops once all was learned at `stop_after` checkpoints in a row (None: it does not).

    Raises:
        InputError: fewer than two checkpoints, a share outside 0…1, or a count below 1.
    """

    colour: float = 0.2
    size: float = 0.4
    seed: int = 0
    steps: int = 2400
    checkpoints: int = 34
    first: int = 20
    batch_size: int = 32
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    channels: int = 8
    per_class: int = 2048
    images: int = 64
    arm_images: int = 24
    arms_every: int = 1
    stop_after: int | None = 5
    hidden: Hidden = "none"
    hide: float = 0.0

    def __post_init__(self) -> None:
        require_known("hidden", self.hidden, get_args(Hidden))
        if not 0 <= self.hide <= 1:
            raise InputError(f"hide is {self.hide}; give a share from 0 to 1")
        if (self.hidden == "none") != (self.hide == 0):
            raise InputError(
                f"{self.hidden!r} is hidden from a share {self.hide:g} of prompts; give a concept "
                "and a share, or neither"
            )
        if self.checkpoints < 2 or not 1 <= self.first < self.steps:
            raise InputError(
                f"{self.checkpoints} checkpoints from step {self.first} to {self.steps}; give at "
                "least 2 rising ones"
            )
        for name in ("batch_size", "per_class", "images", "arm_images", "arms_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give at least 1")

    @property
    def signals(self) -> ConceptSignals:
        """The data's signals."""
        return ConceptSignals(self.colour, self.size)

    def kept_steps(self) -> list[int]:
        """The steps of the checkpoints, evenly spaced in their square root."""
        roots = np.linspace(math.sqrt(self.first), math.sqrt(self.steps), self.checkpoints)
        return sorted({round(float(root) ** 2) for root in roots})


@dataclass(frozen=True, eq=False, kw_only=True)
class ConceptRun:
    """A run at each of its checkpoints: prompted for the held-out class, and under interventions.

    `naive[measure]` are accuracies from 0 to 1 at `steps`: of images prompted for the held-out
    class (`colour`, `size`, `joint`: both at once) and for the three training classes (`seen`: both
    at once). `arms[arm][factor]` is the joint accuracy under an intervention, at `arm_steps`.
    `coordinates[axis]` are the images' mean positions between the classes, if measured; `losses`
    the mean training loss since the checkpoint before. `sheets` are pictures of samples by step,
    `checkpoints` the folder of stored networks, if any.

    Raises:
        InputError: steps that do not rise; a curve that is missing, of another length, or not
            within 0 to 1.

    Example:
        >>> ConceptRun(
        ...     settings=ConceptTrainingSettings(colour=0.2),
        ...     steps=steps,
        ...     naive={"colour": c, "size": s, "joint": j, "seen": k},
        ...     arms={"linear": {1.0: shifted}},
        ...     arm_steps=arm_steps,
        ... ).learned("joint", LearningRule())
    """

    settings: ConceptTrainingSettings
    steps: tuple[int, ...]
    naive: Mapping[str, Float[np.ndarray, " checkpoint"]]
    arms: Mapping[str, Mapping[float, Float[np.ndarray, " arm_checkpoint"]]]
    arm_steps: tuple[int, ...]
    coordinates: Mapping[str, Float[np.ndarray, " checkpoint"]] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    finished: bool = True
    sheets: Mapping[int, UInt8[np.ndarray, "down across 3"]] = field(default_factory=dict)
    checkpoints: Path | None = None

    def __post_init__(self) -> None:
        rising(self.steps)
        missing = [name for name in MEASURES if name not in self.naive]
        if missing:
            raise InputError(f"run {self} has no curve {missing[0]!r}; give {', '.join(MEASURES)}")
        for name, values in [*self.naive.items(), *self.coordinates.items()]:
            _require_curve(f"{name!r} of run {self}", values, len(self.steps))
        if self.arms:
            rising(self.arm_steps)
        for arm, grid in self.arms.items():
            if not grid:
                raise InputError(f"arm {arm!r} of run {self} was tried at no value; leave it out")
            for factor, values in grid.items():
                _require_curve(f"{arm!r} at {factor:g} of run {self}", values, len(self.arm_steps))

    def __str__(self) -> str:
        return ", ".join(filter(None, [f"Δ {self.signal:g}", f"seed {self.seed}", self.variant]))

    @property
    def name(self) -> str:
        """The run's name in files and legends."""
        return run_name(self.settings)

    @property
    def signal(self) -> float:
        """The distance between red and blue."""
        return self.settings.colour

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.settings.seed

    @property
    def variant(self) -> str:
        """What differs from the main runs: another size signal, or prompts that hide a concept."""
        size, hidden = self.settings.size, self.settings.hidden
        parts = [] if size == ConceptTrainingSettings.size else [f"Δsize {size:g}"]
        if hidden != "none":
            parts.append(f"{hidden} hidden in {100 * self.settings.hide:g} % of prompts")
        return ", ".join(parts)

    @cached_property
    def way(self) -> Float[np.ndarray, "checkpoint 2"]:
        """The trajectory in the plane of colour and size: soft coordinates if measured, else
        accuracies.
        """
        source = self.coordinates if set(CONCEPTS) <= set(self.coordinates) else self.naive
        return np.stack([source[axis] for axis in CONCEPTS], axis=1)

    @cached_property
    def turn(self) -> Turn | None:
        """The largest turn of the trajectory; None with too few checkpoints."""
        return find_turn(self.steps, self.way) if len(self.steps) > 2 * RULE.window else None

    def learned(self, measure: str, rule: LearningRule) -> LearningTime:
        """When one of `naive` was learned. Use a rule `for_good`: a network that ignores colour
        paints one grey, which may be read as blue for some checkpoints.
        """
        require_known("measure", measure, MEASURES)
        return learning_time(self.steps, self.naive[measure], rule)

    def prompted(self, rule: LearningRule) -> LearningTime:
        """When prompting elicits the held-out class, at `arm_steps` only, to compute lags from."""
        joint = np.interp(self.arm_steps, self.steps, self.naive["joint"])
        return learning_time(self.arm_steps, joint, rule)

    def arm(self, arm: str, factor: float | None = None) -> Float[np.ndarray, " arm_checkpoint"]:
        """An arm's curve at one factor, or at each checkpoint's best.

        Raises:
            InputError: it was not measured.
        """
        require_known("arm", arm, self.arms)
        grid = self.arms[arm]
        if factor is None:
            return np.max(list(grid.values()), axis=0)
        if factor not in grid:
            raise InputError(f"{arm} was not measured at {factor}; there are {sorted(grid)}")
        return grid[factor]

    def elicited(self, arm: str, rule: LearningRule, factor: float | None = None) -> LearningTime:
        """When an arm elicits the held-out class, at one factor or at each checkpoint's best."""
        return learning_time(self.arm_steps, self.arm(arm, factor), rule)

    def trajectories(self) -> Trajectories:
        """The soft coordinates (means over images) as a run in concept space."""
        samples = {
            name: rearrange(values, "checkpoint -> checkpoint 1")
            for name, values in self.coordinates.items()
        }
        return Trajectories(steps=self.steps, samples=samples, name=self.name, seed=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Json-ready values."""
        return {
            "signal": self.signal,
            "seed": self.seed,
            "steps": list(self.steps),
            "naive": {name: values.tolist() for name, values in self.naive.items()},
            "coordinates": {name: values.tolist() for name, values in self.coordinates.items()},
            "arm_steps": list(self.arm_steps),
            "arms": {
                arm: {f"{factor:g}": values.tolist() for factor, values in grid.items()}
                for arm, grid in self.arms.items()
            },
            "losses": list(self.losses),
            "settings": asdict(self.settings),
            "seconds": round(self.seconds, 1),
            "finished": self.finished,
            "versions": package_versions(),
        }


def load_concept_run(path: str | Path) -> ConceptRun:
    """Read the json of `train_concepts`; checkpoints lie in a folder of the same name.

    Raises:
        UnavailableError: the file is missing or not json.
        InputError: it holds something else; the message says what it lacks.

    Example:
        >>> load_concept_run("data/dynamics/shapes/colour0.2_seed0.json").trajectories()
    """
    kept = Path(path).with_suffix("")
    run = run_from_dict(read_json(Path(path)), str(path))
    return replace(run, checkpoints=kept) if any(kept.glob("step_*.safetensors")) else run


def run_from_dict(found: Any, source: str) -> ConceptRun:
    """The run of a `ConceptRun.to_dict`; missing settings take their defaults.

    Raises:
        InputError: it is something else; the message names the source.
    """
    lacking = sorted(_WANTED - set(found if isinstance(found, dict) else ()))
    problem = f"it lacks {', '.join(lacking)}"
    try:
        if not lacking:
            return _parsed(found)
    except (TypeError, AttributeError) as error:
        problem = str(error)
    raise InputError(f"{source} is no run of train_concepts ({problem}); give a file that it wrote")


def _parsed(found: Mapping[str, Any]) -> ConceptRun:
    settings = {"colour": found["signal"], "seed": found["seed"], **found.get("settings", {})}
    arms = {
        arm: {float(factor): values for factor, values in _arrays(grid).items()}
        for arm, grid in found["arms"].items()
    }
    return ConceptRun(
        settings=ConceptTrainingSettings(**settings),
        steps=tuple(found["steps"]),
        naive=_arrays(found["naive"]),
        arms=arms,
        arm_steps=tuple(found["arm_steps"]),
        coordinates=_arrays(found.get("coordinates", {})),
        losses=tuple(found.get("losses", ())),
        seconds=found.get("seconds", 0.0),
        finished=found.get("finished", True),
    )


def _arrays(curves: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, dtype=float) for name, values in curves.items()}


def _require_curve(what: str, values: np.ndarray, count: int) -> None:
    if values.shape != (count,):
        raise InputError(
            f"{what} has {values.shape} values for {count} checkpoints; give one per checkpoint"
        )
    require_unit(what, values)


def run_name(settings: ConceptTrainingSettings) -> str:
    """A run's name, with what is not the default: `colour0.2_seed0`."""
    size = "" if settings.size == ConceptTrainingSettings.size else f"_size{settings.size:g}"
    hidden = "" if settings.hidden == "none" else f"_{settings.hidden}hidden{settings.hide:g}"
    return f"colour{settings.colour:g}{size}{hidden}_seed{settings.seed}"
