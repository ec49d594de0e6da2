"""Any torch module as a Model whose sites are its submodules' outputs."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interp.core import InputError, Sites
from interp.models.adapters.display import model_html, model_text
from interp.models.hooks import Point, by_site, ended_early, evaluating, placed
from interp.models.protocol import Batch, Frame, Hook, Prepared, checked_batch_size
from interp.models.weights.identity import module_hash

DEFAULT_BATCH = 64


class ModuleModel:
    """A torch module whose forward takes one tensor with a batch axis.

    Sites are `module:dotted.name`, or just the dotted name. Channels come first in images
    `[batch, channel, y, x]`, last in sequences `[batch, position, width]`. Shapes are those that
    layers state; `example` (one input batch) makes them exact. Of a submodule that runs several
    times in a forward call, the first run is recorded; an intervention changes every run.

    Example:
        >>> model = interp.wrap(torchvision_resnet)
        >>> interp.record(model, images, "module:layer3")
    """

    def __init__(
        self, module: nn.Module, *, name: str | None = None, example: Tensor | None = None
    ) -> None:
        self.module = module
        self.name = name or type(module).__name__
        self._example = example

    @cached_property
    def _points(self) -> dict[str, Point]:
        return {
            f"module:{name}": Point(part, "output")
            for name, part in self.module.named_modules()
            if name
        }

    @cached_property
    def sites(self) -> Sites:
        """Every submodule's output, with its shape as far as known."""
        shapes = {site: _stated_shape(point.module) for site, point in self._points.items()}
        if self._example is not None:
            shapes |= self._measured_shapes(self._example)
        return Sites(shapes, {site.removeprefix("module:"): site for site in shapes})

    @cached_property
    def weight_hash(self) -> str:
        """sha256 of the weights in memory."""
        return module_hash(self.module)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(
            (parameter.device for parameter in self.module.parameters()), torch.device("cpu")
        )

    def prepare(self, inputs: Any, batch_size: int | None = None) -> Prepared:
        """A tensor with a batch axis, or tensors of one shape, as batches.

        Raises:
            InputError: there are no inputs, or they differ in shape.
        """
        stacked = inputs if isinstance(inputs, Tensor) else _stack(inputs)
        if stacked.ndim < 2 or len(stacked) == 0:
            raise InputError(
                f"inputs have shape {tuple(stacked.shape)}; expected [batch, …] with at least one "
                "element"
            )
        size = checked_batch_size(batch_size) or DEFAULT_BATCH
        batches = [
            Batch(
                inputs={"input": stacked[start : start + size].to(self.device)},
                items=np.arange(start, min(start + size, len(stacked))),
                offsets=np.zeros(len(stacked[start : start + size]), int),
            )
            for start in range(0, len(stacked), size)
        ]
        return Prepared(tuple(f"input {number}" for number in range(len(stacked))), (), batches)

    def run(
        self,
        inputs: Any,
        hooks: Mapping[str, Hook] = {},
        *,
        stop_after: str | Iterable[str] | None = None,
    ) -> Any:
        """One forward call with hooks; gradients follow torch's own setting.

        Raises:
            InputError: a site does not exist, or a hook changes the shape.
        """
        batch = (
            inputs
            if isinstance(inputs, Batch)
            else self.prepare(inputs, batch_size=sys.maxsize).batches[0]
        )
        with self._session(hooks, stop_after, batch), ended_early():
            return self.module(batch.inputs["input"])
        return None

    def hooked(self, hooks: Mapping[str, Hook]) -> Any:
        """Keep hooks in place for the length of a `with` block."""
        return self._session(hooks, None, None)

    def __repr__(self) -> str:
        return model_text(self)

    def _repr_html_(self) -> str:
        return model_html("Module", self.name, self.module, self.sites)

    @contextmanager
    def _session(
        self, hooks: Mapping[str, Hook], stop_after: str | Iterable[str] | None, batch: Batch | None
    ) -> Iterator[None]:
        resolved, ends = by_site(self.sites, hooks, stop_after)
        with ExitStack() as stack:
            stack.enter_context(evaluating(self.module))
            stack.enter_context(placed(self._points, resolved, Frame(batch=batch), ends))
            yield

    def _measured_shapes(self, example: Tensor) -> dict[str, tuple[int | None, ...]]:
        seen: dict[str, tuple[int | None, ...]] = {}

        def look(site: str) -> Hook:
            def hook(value: Tensor, call: Any) -> None:
                seen[site] = tuple(value.shape[1:])

            return hook

        with (
            torch.no_grad(),
            evaluating(self.module),
            placed(self._points, {site: look(site) for site in self._points}, Frame()),
        ):
            self.module(example.to(self.device))
        return seen


def _stack(inputs: Any) -> Tensor:
    if not isinstance(inputs, Sequence) or not all(isinstance(value, Tensor) for value in inputs):
        raise InputError(
            "a plain module takes a tensor with a batch axis or a sequence of tensors, not "
            f"{type(inputs).__name__}; texts need a transformers causal language model that "
            "TransformerLens knows"
        )
    shapes = sorted({tuple(value.shape) for value in inputs})
    if len(shapes) != 1:
        raise InputError(
            f"inputs have {len(shapes)} different shapes {shapes[:3]}; give tensors, all of one "
            "shape"
        )
    return torch.stack(list(inputs))


def _stated_shape(part: nn.Module) -> tuple[int | None, ...]:
    """The shape by a layer's attributes; open axes where it states none."""
    if isinstance(part, nn.Conv2d):
        return (part.out_channels, None, None)
    if isinstance(part, nn.Linear):
        return (part.out_features,)
    return (None,)
