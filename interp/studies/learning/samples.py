"""Sample images of a run's kept checkpoints, prompted and shifted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import UInt8

from interp.core import Progress, silent
from interp.testbeds.concepts.network import load_network, sample_images, starting_noise
from interp.testbeds.concepts.run import ConceptRun
from interp.testbeds.images.concept_shapes import HELD_OUT, ConceptSignals

RED_LARGE, BLUE_LARGE = 0, 2
FACTOR = 2.0
ENLARGED = 4
GAP = 1


def with_samples(
    runs: Sequence[ConceptRun], *, images: int = 8, progress: Progress = silent
) -> list[ConceptRun]:
    """The runs; of those with checkpoints, the one of the strongest signal gets a sheet for each.

    Raises:
        UnavailableError: a checkpoint cannot be read.

    Cost: `2 · images` images per checkpoint; 3 seconds for 34 on a slow core.

    Example:
        >>> study_learning(with_samples(load_image_runs("data/dynamics/shapes")))
    """
    kept = [number for number, run in enumerate(runs) if run.checkpoints is not None]
    if not kept or any(run.sheets for run in runs):
        return list(runs)
    place = max(kept, key=lambda number: runs[number].signal)
    run = runs[place]
    assert run.checkpoints is not None
    paths = sorted(run.checkpoints.glob("step_*.safetensors"))
    sheets = {}
    for number, path in enumerate(paths):
        sheets[int(path.stem.removeprefix("step_"))] = sample_sheet(
            path, run.settings.signals, images=images, seed=run.seed
        )
        progress("samples of checkpoints", number + 1, len(paths), "checkpoint")
    return [*runs[:place], replace(run, sheets=sheets), *runs[place + 1 :]]


@torch.no_grad()
def sample_sheet(
    path: Path, signals: ConceptSignals, *, images: int = 8, seed: int = 0
) -> UInt8[np.ndarray, "down across 3"]:
    """Images of a checkpoint from the same noise: prompted for the held-out class above, with twice
    the colour's linear shift below.

    Raises:
        UnavailableError: the checkpoint cannot be read.
    """
    network = load_network(path)
    prompted, red, blue = network.embed(
        torch.stack([signals.prompt(index) for index in (HELD_OUT, RED_LARGE, BLUE_LARGE)])
    )
    conditions = torch.stack([prompted, prompted + FACTOR * (blue - red)])
    made = sample_images(
        network,
        repeat(conditions, "row width -> (row image) width", image=images),
        repeat(starting_noise(images, seed=seed), "image c y x -> (row image) c y x", row=2),
    )
    pixels = rearrange(((made + 1) * 127.5).round().to(torch.uint8), "image c y x -> image y x c")
    cells = np.pad(pixels.numpy(), ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)
    sheet = rearrange(cells, "(row image) y x c -> (row y) (image x) c", row=2)
    return repeat(sheet, "down across c -> (down a) (across b) c", a=ENLARGED, b=ENLARGED)
