"""Labels that condition images (classes or vectors), and how a `UNet2DModel` gets them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import InputError
from interp.models.hooks import observing

Labels = Int[Tensor, " labelled"] | Float[Tensor, "labelled width"]
"""Classes, or vectors of any small width."""


def class_count(labels: Labels) -> int:
    """The number of classes: the largest label plus one."""
    return int(labels.max()) + 1


def checked_labels(labels: Labels | None, count: int) -> None:
    """Require one label per image.

    Raises:
        InputError: more or fewer labels, or a negative class.
    """
    if labels is None:
        return
    if len(labels) != count:
        raise InputError(f"{len(labels)} labels were given for {count} images; give one per image")
    if labels.ndim == 1 and int(labels.min()) < 0:
        raise InputError(f"class {int(labels.min())} is negative; number classes from 0")


def takes_labels(module: Any) -> bool:
    """Whether a network is conditioned on classes or vectors."""
    return getattr(module, "class_embedding", None) is not None


def no_label(module: Any, count: int) -> Labels:
    """The empty label: the class after the last, or the zero vector."""
    if module.config.num_class_embeds is not None:
        return torch.full((count,), module.config.num_class_embeds - 1)
    return torch.zeros(count, 1)


def prepared_labels(module: Any, labels: Labels) -> Tensor:
    """Labels as the network takes them: classes, or vectors zero-padded to the time embedding's
    width.

    Raises:
        InputError: vectors for a network of classes or the other way round, an unknown class, or
            vectors too wide.
    """
    classes = module.config.num_class_embeds
    if classes is not None:
        if labels.ndim != 1 or int(labels.max()) >= classes:
            raise InputError(
                f"labels {tuple(labels.shape)} up to {float(labels.max()):.3g} were given; "
                f"this network has classes 0 to {classes - 1}"
            )
        return labels.to(module.device)
    room = module.config.block_out_channels[0] * 4
    if labels.ndim != 2 or labels.shape[1] > room:
        raise InputError(
            f"labels of shape {tuple(labels.shape)}; this network takes vectors [image, width] of "
            f"at most {room} numbers"
        )
    return torch.nn.functional.pad(
        labels.to(module.device, module.dtype), (0, room - labels.shape[1])
    )


def without_some(
    labels: Labels | None, module: Any, probability: float, generator: torch.Generator
) -> Tensor | None:
    """Labels with some emptied at random, as classifier-free guidance needs (Ho & Salimans
    2022).
    """
    if labels is None:
        return None
    dropped = torch.rand(len(labels), generator=generator) < probability
    empty = no_label(module, len(labels)).to(labels)
    return torch.where(dropped if labels.ndim == 1 else dropped[:, None], empty, labels)


@contextmanager
def labelled(module: Any, labels: Labels | None) -> Iterator[None]:
    """Condition every run of the network in the block on `labels`, one per image of its batch.

    Raises:
        InputError: labels for a network that takes none, or none for one that needs them.
    """
    if labels is None and not takes_labels(module):
        yield
        return
    if labels is None or not takes_labels(module):
        raise InputError(
            "this network needs labels; give one per image"
            if labels is None
            else "this network takes no labels; leave them out"
        )
    value = prepared_labels(module, labels)

    with observing(
        module, before=lambda part, args, kwargs: (args, {**kwargs, "class_labels": value})
    ):
        yield
