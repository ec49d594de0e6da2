"""Samples of a trained generator, as one picture beside its weights."""

from pathlib import Path

import torch
from torch import Tensor

from interp.diffusion.images.sheets import COLUMNS, sheet, write_png
from interp.diffusion.sampling.ddim import sample
from interp.diffusion.sampling.labels import Labels, class_count
from interp.testbeds.generators.network import load_generator

SEED = 1234


def write_sheet(
    folder: Path, path: Path, *, labels: Labels | None = None, rows: int = COLUMNS
) -> None:
    """Sample the network of a folder and write the sheet as png; with classes, one row for each.

    Cost: 64 images.
    """
    chosen = None if labels is None else _first(labels, rows)
    count = rows * COLUMNS if chosen is None else len(chosen)
    write_png(path, sheet(sample(load_generator(folder), count, seed=SEED, labels=chosen)))


def _first(labels: Labels, rows: int) -> Tensor:
    if labels.ndim == 2:
        return labels[: rows * COLUMNS]
    return torch.arange(class_count(labels)).repeat_interleave(COLUMNS)
