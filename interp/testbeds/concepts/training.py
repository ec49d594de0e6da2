"""Training the concept network on three of four classes, and measuring, as it goes, what it does
when asked for the fourth.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
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

__all__ = [
    "ConceptRun",
    "ConceptTrainingSettings",
    "Hidden",
    "concept_axes",
    "load_concept_run",
    "run_name",
    "train_concepts",
]

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
    """Train one run and measure it at every checkpoint; `path` (json) is written as it goes.

    The network sees the three seen classes, each image with its own colour and radius as its
    condition, and learns to predict it clean by least squares, at times drawn evenly. A run that is
    finished is read, not trained again; one that was broken off starts again.

    Args:
        checkpoints: a folder for `step_*.safetensors` (70 kB each); none are kept if left out.

    Raises:
        InputError: a concept that its reader cannot tell apart (with the accuracy), or `path` holds
            a run of other settings.
        UnavailableError: a file cannot be written.

    Source: Park et al. 2024, at CPU size. Cost: the defaults take 40 s on a slow core, a third of
    it measuring.

    Example:
        >>> train_concepts(
        ...     ConceptTrainingSettings(colour=0.2, seed=1), "runs/colour0.2_seed1.json"
        ... ).learned(LearningRule(), "joint").step
    """
    place = Path(path)
    if place.is_file():
        found = load_concept_run(place)
        if found.settings != settings:
            raise InputError(
                f"{place} holds a run of other settings, {found.settings}; give another path"
            )
        if found.finished:
            return found
    require_told_apart(settings.signals)
    folder = None if checkpoints is None else require_writable(Path(checkpoints))
    trainer = _Trainer(settings)
    run = ConceptRun(settings=settings)
    start = time.perf_counter()
    for number, step in enumerate(settings.kept_steps()):
        run.losses.append(round(trainer.train_to(step), 5))
        _measure(run, trainer.network, step, with_arms=number % settings.arms_every == 0)
        if folder is not None:
            save_network(trainer.network, folder / f"step_{step:06d}.safetensors")
        run.seconds = time.perf_counter() - start
        run.finished = step == settings.steps or _all_learned(run)
        write_json(place, run.to_dict())
        progress(run.name, step, settings.steps, "step")
        if run.finished:
            break
    return run


def concept_axes(signals: ConceptSignals, *, images: int = 64, seed: int = 0) -> dict[str, Axis]:
    """The axes of concept space for `track`: where images asked for the held-out class lie, and how
    well the readers tell.

    Cost: sampling `images` images an axis and checkpoint.

    Example:
        >>> track(
        ...     checkpoints_of("runs/colour0.2_seed0", load=load_network),
        ...     concept_axes(ConceptSignals(colour=0.2)),
        ... )
    """
    oracle = require_told_apart(signals)

    def measure(network: ConceptNetwork, place: int) -> Float[np.ndarray, " image"]:
        return np.asarray(
            concept_coordinates(_asked(network, signals, (HELD_OUT,), images, seed), signals)[
                :, place
            ].numpy()
        )

    return {
        "colour": Axis(lambda network: measure(network, 0), oracle["colour"]),
        "size": Axis(lambda network: measure(network, 1), oracle["size"]),
    }


class _Trainer:
    """The network, its optimiser, its data and its random numbers."""

    def __init__(self, settings: ConceptTrainingSettings) -> None:
        self.settings, self.step = settings, 0
        self.data: ConceptImages = concept_images(
            settings.signals, settings.per_class, classes=SEEN, seed=settings.seed
        )
        self.network = ConceptNetwork(settings.channels, seed=settings.seed)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def train_to(self, step: int) -> float:
        """Train until a step; the mean loss on the way."""
        losses = [self._advance() for _ in range(step - self.step)]
        self.step = step
        return float(torch.stack(losses).mean())

    def _advance(self) -> Tensor:
        size = self.settings.batch_size
        chosen = torch.randint(len(self.data), (size,), generator=self.generator)
        images, conditions = self.data.images[chosen], self._prompts(self.data.conditions[chosen])
        times = torch.rand(size, generator=self.generator)
        noise = torch.randn(images.shape, generator=self.generator)
        a, s = signal_and_noise(times)
        predicted = self.network(a * images + s * noise, times, self.network.embed(conditions))
        loss = (predicted - images).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return torch.as_tensor(loss.detach())

    def _prompts(self, conditions: Tensor) -> Tensor:
        if self.settings.hide == 0:
            return conditions
        silent_ones = torch.rand(len(conditions), 1, generator=self.generator) < self.settings.hide
        return conditions * (1 - silent_ones * torch.tensor(_PARTS[self.settings.hidden]))


@torch.no_grad()
def _asked(
    network: ConceptNetwork,
    signals: ConceptSignals,
    classes: tuple[int, ...],
    images: int,
    seed: int,
) -> Tensor:
    """`images` images of every class, all from the same noise."""
    prompts = torch.stack([signals.prompt(index) for index in classes]).repeat_interleave(
        images, dim=0
    )
    return sample_images(
        network,
        network.embed(prompts),
        starting_noise(images, seed=seed).repeat(len(classes), 1, 1, 1),
    )


def _measure(run: ConceptRun, network: ConceptNetwork, step: int, *, with_arms: bool) -> None:
    settings, signals = run.settings, run.settings.signals
    run.steps.append(step)
    asked = _asked(network, signals, (HELD_OUT,), settings.images, settings.seed)
    hits = concept_hits(asked, signals, HELD_OUT)
    places = concept_coordinates(asked, signals).mean(dim=0)
    few = max(1, settings.images // len(SEEN))
    seen = torch.split(_asked(network, signals, SEEN, few, settings.seed), few)
    accurate = [
        concept_hits(images, signals, index).all(dim=1)
        for images, index in zip(seen, SEEN, strict=True)
    ]
    values: Mapping[str, Tensor] = dict(zip(CONCEPTS, hits.T, strict=True)) | {
        "joint": hits.all(dim=1),
        "seen": torch.cat(accurate),
    }
    for name in MEASURES:
        run.naive[name].append(round(float(values[name].float().mean()), 4))
    for name, place in zip(CONCEPTS, places, strict=True):
        run.coordinates[name].append(round(float(place), 4))
    if with_arms:
        run.arm_steps.append(step)
        for arm, by in elicited(
            network, signals, ElicitationGrid(images=settings.arm_images), seed=settings.seed
        ).items():
            for factor, hit in by.items():
                run.arms.setdefault(arm, {}).setdefault(factor, []).append(
                    round(float(hit.float().mean()), 4)
                )


def _all_learned(run: ConceptRun) -> bool:
    """Whether the seen and the held-out classes have been right at enough checkpoints in a row."""
    wanted = run.settings.stop_after
    if wanted is None or len(run.steps) < wanted:
        return False
    return min(min(run.naive[name][-wanted:]) for name in MEASURES) >= 0.95
