"""A run of the concept network: its settings, what it did at each checkpoint, and its file."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from interp.core import InputError, UnavailableError
from interp.core.files import read_json
from interp.core.names import require_known
from interp.core.provenance import package_versions
from interp.dynamics.learning_times import LearningRule, LearningTime, learning_time
from interp.dynamics.trajectories import Trajectories
from interp.testbeds.images.concept_shapes import CONCEPTS, ConceptSignals

Hidden = Literal["none", "colour", "size"]
MEASURES = ("colour", "size", "joint", "seen")


@dataclass(frozen=True, kw_only=True)
class ConceptTrainingSettings:
    """A run: the data's signals, the network, its training, and how it is measured.

    `hidden` is a concept that the prompts of a share `hide` of the training images do not speak of
    (those parts are zero): underspecified prompts. `arms_every` is how many checkpoints lie between
    two at which every arm of `elicitation` is measured. A run stops `stop_after` checkpoints after
    all has been learned (None: it does not).

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
                f"{self.hidden!r} is hidden from a share {self.hide:g} of prompts; give a "
                "concept "
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


@dataclass(kw_only=True)
class ConceptRun:
    """What a run did at each of its checkpoints.

    `naive` has the accuracies of 64 images asked for the held-out class (`colour`, `size`, `joint`:
    both at once), and of images of the three classes that are trained on (`seen`: both at once).
    `coordinates` are the same images' mean places between the classes, from 0 to 1.
    `arms[arm][factor]` are joint accuracies at the steps `arm_steps`.
    """

    settings: ConceptTrainingSettings
    steps: list[int] = field(default_factory=list)
    naive: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    coordinates: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in CONCEPTS}
    )
    arm_steps: list[int] = field(default_factory=list)
    arms: dict[str, dict[float, list[float]]] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False

    @property
    def name(self) -> str:
        """For files and legends."""
        return run_name(self.settings)

    def learned(self, rule: LearningRule, measure: str) -> LearningTime:
        """When one of `naive` was learned. Take a rule `for_good`: the one grey of a network that
        does not look at the colour yet, if it is a little blue, is read as blue for some
        checkpoints."""
        require_known("measure", measure, MEASURES)
        values = np.array(self.naive[measure])
        return learning_time(self.steps, values, rule)

    def onset(self, rule: LearningRule, arm: str, factor: float | None = None) -> LearningTime:
        """From when on an arm elicits the held-out class at one factor, or at the best of each
        checkpoint if left out.
        """
        require_known("arm", arm, self.arms)
        by = self.arms[arm]
        if factor is not None and factor not in by:
            raise InputError(f"{arm} was not measured at {factor}; there are {sorted(by)}")
        values = np.max(list(by.values()), axis=0) if factor is None else np.array(by[factor])
        return learning_time(self.arm_steps, values, rule)

    def trajectories(self) -> Trajectories:
        """The soft coordinates as a run in concept space (one value a checkpoint: the mean over
        images).
        """
        samples = {name: np.array(values)[:, None] for name, values in self.coordinates.items()}
        return Trajectories(
            steps=tuple(self.steps), samples=samples, name=self.name, seed=self.settings.seed
        )

    def to_dict(self) -> dict[str, Any]:
        """Json-ready values."""
        settings = self.settings
        return {
            "signal": settings.colour,
            "seed": settings.seed,
            "steps": self.steps,
            "naive": self.naive,
            "coordinates": self.coordinates,
            "arm_steps": self.arm_steps,
            "arms": {
                arm: {f"{factor:g}": values for factor, values in by.items()}
                for arm, by in self.arms.items()
            },
            "losses": self.losses,
            "settings": asdict(settings),
            "seconds": round(self.seconds, 1),
            "finished": self.finished,
            "versions": package_versions(),
        }


def load_concept_run(path: str | Path) -> ConceptRun:
    """Read the json of `train_concepts`.

    Raises:
        UnavailableError: the file is missing, no json, or of something else.

    Example:
        >>> load_concept_run("data/dynamics/shapes/colour0.2_seed0.json").trajectories()
    """
    found = read_json(Path(path))
    try:
        arms = {
            arm: {float(factor): values for factor, values in by.items()}
            for arm, by in found["arms"].items()
        }
        names = ("steps", "naive", "coordinates", "arm_steps", "losses", "seconds", "finished")
        return ConceptRun(
            settings=ConceptTrainingSettings(**found["settings"]),
            arms=arms,
            **{name: found[name] for name in names},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UnavailableError(
            f"{path} holds no run of train_concepts ({error}); give a file that it wrote"
        ) from error


def run_name(settings: ConceptTrainingSettings) -> str:
    """The name of a run, which says what is not the default: `colour0.2_seed0`."""
    size = "" if settings.size == ConceptTrainingSettings.size else f"_size{settings.size:g}"
    hidden = "" if settings.hidden == "none" else f"_{settings.hidden}hidden{settings.hide:g}"
    return f"colour{settings.colour:g}{size}{hidden}_seed{settings.seed}"
