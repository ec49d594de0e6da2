"""A UNet's skip connections: left out for good, or dropped at random while it is trained.

In an ordinary UNet the skips carry everything, so that nothing of an image goes through the
bottleneck. A network that was trained without some of them must also be run without them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool
from torch import Tensor

from interp.core import InputError
from interp.core.files import read_json
from interp.models.hooks import Before, changed_for_good, observing

RECIPE = "recipe.json"
_MARK = "_interp_removed_skips"

Masks = Callable[[int, Tensor], Tensor]
"""Given a skip's number (0 is the one from the first convolution) and its value, what takes its
place.
"""


def skip_count(module: Any) -> int:
    """How many skip connections a UNet of diffusers has."""
    return sum(len(block.resnets) for block in module.up_blocks)


def remove_skips(module: Any, removed: int) -> Any:
    """Leave out a network's `removed` highest-resolution skip connections, for good: they hold
    zeros whenever it runs.

    Skips are counted from the first convolution on, in the order in which the way down makes them.
    The module itself is returned; its weights and their names stay as they are.

    Raises:
        InputError: it has fewer skips, or others were removed before.

    Example:
        >>> module = remove_skips(module, 2)
    """
    if not 0 <= removed <= skip_count(module):
        raise InputError(
            f"{removed} skips were to be removed of {skip_count(module)}; give 0 to "
            f"{skip_count(module)}"
        )
    before = removed_skips(module)
    if before not in (0, removed):
        raise InputError(
            f"{before} skips of this network are removed already; load it again to remove {removed}"
        )

    def zeros(number: int, value: Tensor) -> Tensor:
        return torch.zeros_like(value) if number < removed else value

    if removed and not before:
        for block, first in _first_skips(module):
            changed_for_good(block, _on_skips(zeros, first))
        setattr(module, _MARK, removed)
    return module


def removed_skips(module: Any) -> int:
    """How many of a network's skips `remove_skips` left out."""
    return int(getattr(module, _MARK, 0))


def recipe_skips(folder: Path) -> int:
    """How many skips the network of a folder was trained without: `removed_skips` in its
    `recipe.json`, 0 where there is none.

    Raises:
        UnavailableError: the recipe cannot be read.
    """
    path = folder / RECIPE
    settings = read_json(path).get("settings") if path.is_file() else None
    return int(settings.get("removed_skips", 0)) if isinstance(settings, dict) else 0


@contextmanager
def dropped_skips(module: Any, images: Bool[Tensor, " image"]) -> Iterator[None]:
    """For the length of the block the marked images of the batch are run without any skip, so that
    all must go through the bottleneck.
    """

    def drop(number: int, value: Tensor) -> Tensor:
        return value * ~rearrange(images, "image -> image 1 1 1").to(value.device)

    with ExitStack() as stack:
        for block, first in _first_skips(module) if bool(images.any()) else ():
            stack.enter_context(observing(block, before=_on_skips(drop, first)))
        yield


def _first_skips(module: Any) -> Iterator[tuple[Any, int]]:
    """The blocks of the way up, each with the number of its first skip."""
    above = skip_count(module)
    for block in module.up_blocks:
        above -= len(block.resnets)
        yield block, above


def _on_skips(masks: Masks, first: int) -> Before:
    """A block takes its skips in a tuple, the deepest last."""

    def hook(
        module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = "res_hidden_states_tuple" in kwargs
        skips = kwargs["res_hidden_states_tuple"] if named else args[1]
        changed = tuple(masks(first + i, skip) for i, skip in enumerate(skips))
        if named:
            return args, {**kwargs, "res_hidden_states_tuple": changed}
        return (args[0], changed, *args[2:]), kwargs

    return hook
