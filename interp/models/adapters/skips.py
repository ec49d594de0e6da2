"""A UNet's skip connections: removed for good, or dropped for some images while it is trained.

In an ordinary UNet the skips carry everything and the bottleneck nothing of an image. A network
trained without some of them must also be run without them.
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
from interp.models.hooks import Before, add_permanent_hook, observing

RECIPE = "recipe.json"
_MARK = "_interp_removed_skips"

Masks = Callable[[int, Tensor], Tensor]
"""From a skip's number (0 is that of the first convolution) and value to its replacement."""


def skip_count(module: Any) -> int:
    """How many skip connections a diffusers UNet has."""
    return sum(len(block.resnets) for block in module.up_blocks)


def remove_skips(module: Any, removed: int) -> Any:
    """Replace a network's `removed` highest-resolution skip connections by zeros for good.

    Skips count from the first convolution, in the order of the way down. The module itself is
    returned, with the same weights and names.

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
            add_permanent_hook(block, _on_skips(zeros, first))
        setattr(module, _MARK, removed)
    return module


def removed_skips(module: Any) -> int:
    """How many of a network's skips `remove_skips` removed."""
    return int(getattr(module, _MARK, 0))


def recipe_skips(folder: Path) -> int:
    """How many skips a folder's network was trained without, by its `recipe.json` (0 without one).

    Raises:
        UnavailableError: the recipe cannot be read.
    """
    path = folder / RECIPE
    settings = read_json(path).get("settings") if path.is_file() else None
    return int(settings.get("removed_skips", 0)) if isinstance(settings, dict) else 0


@contextmanager
def dropped_skips(module: Any, images: Bool[Tensor, " image"]) -> Iterator[None]:
    """Run the marked images of the batch without any skip for the length of the block, so that
    everything must go through the bottleneck.
    """

    def drop(number: int, value: Tensor) -> Tensor:
        return value * ~rearrange(images, "image -> image 1 1 1").to(value.device)

    with ExitStack() as stack:
        for block, first in _first_skips(module) if bool(images.any()) else ():
            stack.enter_context(observing(block, before=_on_skips(drop, first)))
        yield


def _first_skips(module: Any) -> Iterator[tuple[Any, int]]:
    """The up blocks, each with the number of its first skip."""
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
