"""Training the concept network on three of four classes, and measuring whether it makes the
fourth.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.core.files import require_writable, write_json
from interp.dynamics.track import Axis
from interp.testbeds.concepts.elicitation import ElicitationGrid, elicited
from interp.testbeds.concepts.network import (
    ConceptNetwork,
    sample_images,
    save_network,
    signal_and_noise,
    starting_noise,
)
from interp.testbeds.concepts.run import (
    MEASURES,
    ConceptRun,
    ConceptTrainingSettings,
    Hidden,
    load_concept_run,
    run_from_dict,
    run_name,
)
from interp.testbeds.images.concept_shapes import (
    CONCEPTS,
    HELD_OUT,
    SEEN,
    ConceptImages,
    ConceptSignals,
    concept_coordinates,
    concept_hits,
    concept_images,
    require_told_apart,
)
from interp.testbeds.training import Trainer

_PARTS: dict[Hidden, list[float]] = {
    "none": [0, 0, 0, 0],
    "colour": [1, 1, 1, 0],
    "size": [0, 0, 0, 1],
}


def train_concepts(
    settings: ConceptTrainingSettings,
    path: str | Path,
    *,
    checkpoints: str | Path | None = None,
    progress: Progress = silent,
) -> ConceptRun:
    """Train a run and measure it at every checkpoint, each time writing `path` (json).

    The network learns, by least squares at times drawn uniformly, to predict clean images of the
    three seen classes, conditioned on their colour and radius. A finished run is read, not trained
    again; an interrupted one resumes from its last checkpoint (`*.state.safetensors` beside `path`,
    removed at the end), with the weights of an uninterrupted run.

    Args:
        checkpoints: a folder for `step_*.safetensors` (70 kB each); by default none are kept.

    Raises:
        InputError: a reader cannot tell its concept apart (with the accuracy), or `path` holds a
            run of other settings.
        UnavailableError: a file cannot be written.

    Source: Park et al. 2024, at CPU size. Cost: by default 40 s on a slow core, a third of it for
    measuring.

    Example:
        >>> train_concepts(
        ...     ConceptTrainingSettings(colour=0.2, seed=1), "runs/colour0.2_seed1.json"
        ... ).learned("joint", LearningRule()).step
    """
    place = Path(path)
    state = place.with_suffix(".state.safetensors")
    if place.is_file():
        before = load_concept_run(place)
        if before.settings != settings:
            raise InputError(
                f"{place} holds a run of other settings, {before.settings}; give another path"
            )
        if before.finished:
            state.unlink(missing_ok=True)
            return before
    require_told_apart(settings.signals)
    folder = None if checkpoints is None else require_writable(Path(checkpoints))
    task = _Task(settings)
    trainer = Trainer(
        module=task.network,
        optimiser=torch.optim.AdamW(
            task.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        ),
        objective=task.loss,
        state=state,
        identity={"settings": str(settings)},
        generator=task.generator,
    )
    trainer.resume()
    for run in _measured(task, trainer, progress):
        if folder is not None:
            save_network(task.network, folder / f"step_{trainer.step:06d}.safetensors")
        write_json(place, run.to_dict())
        if run.finished:
            break
    trainer.finish()
    return run


def _measured(task: "_Task", trainer: Trainer, progress: Progress) -> Iterator[ConceptRun]:
    """Train, and yield the run at every checkpoint."""
    settings, kept = task.settings, task.settings.kept_steps()
    record = _Record(settings=settings, **json.loads(trainer.notes or "{}"))
    for step in trainer.train(
        settings.steps, saved=kept, title=run_name(settings), progress=progress
    ):
        if step not in kept:
            continue
        stretch = trainer.losses[record.steps[-1] if record.steps else 0 :]
        record.losses.append(round(float(torch.stack(stretch).mean()), 5))
        record.measure(task.network, step)
        # Saved with the weights, so that a run resumes with both or neither.
        trainer.notes = json.dumps(record.values())
        finished = step == settings.steps or record.all_learned()
        yield record.run(seconds=trainer.seconds, finished=finished)


def concept_axes(signals: ConceptSignals, *, images: int = 64, seed: int = 0) -> dict[str, Axis]:
    """The axes of concept space for `track`: the positions of images prompted for the held-out
    class, and the readers' accuracies.

    Cost: sampling `images` images per axis and checkpoint.

    Example:
        >>> track(
        ...     checkpoints_of("runs/colour0.2_seed0", load=load_network),
        ...     concept_axes(ConceptSignals(colour=0.2)),
        ... )
    """
    oracle = require_told_apart(signals)

    def measure(network: ConceptNetwork, place: int) -> Float[np.ndarray, " image"]:
        prompted = _generated(network, signals, (HELD_OUT,), images, seed)
        return np.asarray(concept_coordinates(prompted, signals)[:, place])

    return {
        "colour": Axis(lambda network: measure(network, 0), oracle["colour"]),
        "size": Axis(lambda network: measure(network, 1), oracle["size"]),
    }


class _Task:
    """The network, its data and its random numbers."""

    def __init__(self, settings: ConceptTrainingSettings) -> None:
        self.settings = settings
        self.data: ConceptImages = concept_images(
            settings.signals, settings.per_class, classes=SEEN, seed=settings.seed
        )
        self.network = ConceptNetwork(settings.channels, seed=settings.seed)
        self.generator = torch.Generator().manual_seed(settings.seed)

    def loss(self, step: int) -> tuple[Tensor, Tensor]:
        """The loss of a batch, to learn from and to record."""
        size = self.settings.batch_size
        chosen = torch.randint(len(self.data), (size,), generator=self.generator)
        images, conditions = self.data.images[chosen], self._prompts(self.data.conditions[chosen])
        times = torch.rand(size, generator=self.generator)
        noise = torch.randn(images.shape, generator=self.generator)
        a, s = signal_and_noise(times)
        predicted = self.network(a * images + s * noise, times, self.network.embed(conditions))
        loss = (predicted - images).square().mean()
        return loss, loss

    def _prompts(self, conditions: Tensor) -> Tensor:
        if self.settings.hide == 0:
            return conditions
        hiding = torch.rand(len(conditions), 1, generator=self.generator) < self.settings.hide
        return conditions * (1 - hiding * torch.tensor(_PARTS[self.settings.hidden]))


@dataclass(kw_only=True)
class _Record:
    """The measures so far: the lists of `ConceptRun`, named as in its file."""

    settings: ConceptTrainingSettings
    steps: list[int] = field(default_factory=list)
    naive: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    coordinates: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in CONCEPTS}
    )
    arm_steps: list[int] = field(default_factory=list)
    arms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Everything except the settings."""
        return {name: value for name, value in vars(self).items() if name != "settings"}

    def run(self, *, seconds: float, finished: bool) -> ConceptRun:
        """The run so far."""
        settings = asdict(self.settings)
        about = {"signal": self.settings.colour, "seed": self.settings.seed, "settings": settings}
        ends = {"seconds": seconds, "finished": finished}
        return run_from_dict({**about, **self.values(), **ends}, "the record")

    def measure(self, network: ConceptNetwork, step: int) -> None:
        """Measure the network at a checkpoint, with all arms at every `arms_every`-th."""
        settings, signals = self.settings, self.settings.signals
        prompted = _generated(network, signals, (HELD_OUT,), settings.images, settings.seed)
        hits = concept_hits(prompted, signals, HELD_OUT)
        few = max(1, settings.images // len(SEEN))
        seen = torch.split(_generated(network, signals, SEEN, few, settings.seed), few)
        accurate = [
            concept_hits(images, signals, index).all(dim=1)
            for images, index in zip(seen, SEEN, strict=True)
        ]
        values: Mapping[str, Tensor] = dict(zip(CONCEPTS, hits.T, strict=True)) | {
            "joint": hits.all(dim=1),
            "seen": torch.cat(accurate),
        }
        for name in MEASURES:
            self.naive[name].append(_share(values[name]))
        places = concept_coordinates(prompted, signals).mean(dim=0)
        for name, place in zip(CONCEPTS, places, strict=True):
            self.coordinates[name].append(round(float(place), 4))
        if len(self.steps) % settings.arms_every == 0:
            self._measure_arms(network, step)
        self.steps.append(step)

    def _measure_arms(self, network: ConceptNetwork, step: int) -> None:
        grid = ElicitationGrid(images=self.settings.arm_images)
        found = elicited(network, self.settings.signals, grid, seed=self.settings.seed)
        self.arm_steps.append(step)
        for arm, by in found.items():
            curves = self.arms.setdefault(arm, {})
            for factor, hits in by.items():
                curves.setdefault(f"{factor:g}", []).append(_share(hits))

    def all_learned(self) -> bool:
        """Whether seen and held-out classes were right at `stop_after` checkpoints in a row."""
        wanted = self.settings.stop_after
        if wanted is None or len(self.steps) < wanted:
            return False
        return min(min(self.naive[name][-wanted:]) for name in MEASURES) >= 0.95


def _share(hits: Tensor) -> float:
    return round(float(hits.float().mean()), 4)


@torch.no_grad()
def _generated(
    network: ConceptNetwork,
    signals: ConceptSignals,
    classes: tuple[int, ...],
    images: int,
    seed: int,
) -> Tensor:
    """`images` images of every class, all from the same noise."""
    prompts = torch.stack([signals.prompt(index) for index in classes])
    noise = starting_noise(images, seed=seed)
    return sample_images(
        network,
        network.embed(repeat(prompts, "kind part -> (kind image) part", image=images)),
        repeat(noise, "image c y x -> (kind image) c y x", kind=len(classes)),
    )
