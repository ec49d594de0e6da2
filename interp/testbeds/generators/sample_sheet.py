"""What a trained generator makes, as one picture beside its weights."""

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
    """Sample the network of a folder and write the sheet as png; of a network of classes every row
    is one class.

    Cost: 64 images.
    """
    told = None if labels is None else _first(labels, rows)
    count = rows * COLUMNS if told is None else len(told)
    write_png(path, sheet(sample(load_generator(folder), count, seed=SEED, labels=told)))


def _first(labels: Labels, rows: int) -> Tensor:
    if labels.ndim == 2:
        return labels[: rows * COLUMNS]
    return torch.arange(class_count(labels)).repeat_interleave(COLUMNS)
