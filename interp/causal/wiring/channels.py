"""Convolutional classifiers as wiring: every kernel slice is an edge from an input channel to an
output channel's preactivation.

The network itself runs its layers; all that is assumed of what lies between them is that it keeps
channels apart, which is tested on the first batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.wiring.channel_chain import (
    Layer,
    chained,
    not_a_chain,
    require_apart,
    require_order,
    require_same,
    require_shape,
    shaken,
)
from interp.causal.wiring.replacement import Changes
from interp.causal.wiring.wiring import CLEAN, Metric, Moment, Node, Port, Wiring, read_copies
from interp.core import InputError
from interp.models import Batch, ModuleModel
from interp.models.hooks import Point, observing, placed
from interp.models.protocol import Call, Frame, Hook

CELL_NUMBERS = 2**21
"""Values in the changed layer of one forward call that serves many edges."""

TRIED = 4
"""Rows of the first batch on which the chain is tested."""


@dataclass(frozen=True)
class _Seen:
    """A clean run: every layer's input (by channels) and output, and the network's output."""

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    final: Tensor


class ChannelWiring(Wiring):
    """A chain of `nn.Conv2d` and `nn.Linear` layers with anything in between that keeps channels
    apart (ReLU, pooling, flatten, …).

    Sources are the channels that layers read, named after the layer that makes them: `input.c0` of
    the image, `conv2.c3` the third channel of `conv2` as the next layer reads it (after the
    nonlinearity), `[row, 1, y, x]` or, before a linear map, `[row, 1, place]`. Ports are the
    preactivations of output channels, `conv3.c5`; those of the last layer (`fc.c0`, …) are the
    class logits. The edge from channel i to channel j is the contribution `W_ji * a_i`; replacing
    it by zero sets the kernel slice `W_ji` to zero.

    Without an `example` (one input batch) layers are taken in the order of registration, and a
    linear first layer is read column by column.

    Raises:
        InputError: the network is no such chain (a grouped convolution, a layer that runs twice, a
            residual addition, something that mixes channels); what only a run reveals, at the first
            batch.

    Example:
        >>> wiring = ChannelWiring(interp.wrap(classifier))
        >>> wiring.numbers([Edge("input.c0", "conv1.c2")])
    """

    feature_axis = 1

    def __init__(self, model: ModuleModel, example: Tensor | None = None) -> None:
        self.model: ModuleModel = model
        self.layers = chained(model, example)
        makers = ["input", *(layer.name for layer in self.layers)]
        self.sources = tuple(
            Node(f"{maker}.c{channel}", place)
            for place, (maker, layer) in enumerate(zip(makers, self.layers, strict=False))
            for channel in range(layer.channels)
        )
        names = [
            (f"{layer.name}.c{channel}", place)
            for place, layer in enumerate(self.layers, 1)
            for channel in range(layer.width)
        ]
        self.ports = tuple(Port(name, (name,), place) for name, place in names)
        self._reads = _stretches([layer.channels for layer in self.layers])
        self._writes = _stretches([layer.width for layer in self.layers])
        self._cached: tuple[Batch, _Seen] | None = None
        self._tried = False

    @cached_property
    def connected(self) -> Bool[Tensor, "source port"]:
        """All channels that a layer reads to all that it makes."""
        table = torch.zeros(len(self.sources), len(self.ports), dtype=torch.bool)
        for reads, writes in zip(self._reads, self._writes, strict=True):
            table[reads, writes] = True
        return table

    @property
    def source_groups(self) -> tuple[tuple[int, ...], ...]:
        """The image's channels, then every layer's."""
        return tuple(tuple(range(reads.start, reads.stop)) for reads in self._reads)

    @torch.no_grad()
    def observe(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> tuple[Tensor, ...]:
        """Every channel as the layer after it reads it, `[row, 1, y, x]` or `[row, 1, place]`."""
        inputs = (
            self._clean(batch).inputs
            if changes is None or replaced is None
            else self._live(batch, changes, replaced)[1]
        )
        return tuple(channel for value in inputs for channel in _channels(value))

    @torch.no_grad()
    def output(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> Float[Tensor, "row *out"]:
        """The network's output, with some edges' contributions replaced."""
        clean = self._clean(batch).final
        return (
            clean
            if changes is None or replaced is None
            else self._live(batch, changes, replaced)[0]
        )

    @torch.no_grad()
    def one_by_one(
        self,
        batch: Batch,
        changes: Changes,
        edges: Int[np.ndarray, "edge 2"],
        metric: Metric,
        rows: Int[Tensor, " row"],
    ) -> Float[Tensor, "edge row"]:
        """Layers before an edge's port run for one row only, those after it for many edges at
        once.
        """
        seen = self._clean(batch)
        result = torch.empty(len(edges), len(rows))
        for place, writes in enumerate(self._writes):
            here = np.flatnonzero((edges[:, 1] >= writes.start) & (edges[:, 1] < writes.stop))
            # Sorted by source, edges of one source share a run of the layer.
            here = here[np.argsort(edges[here, 0], kind="stable")]
            change = self._change(place, changes, seen.inputs[place]) if len(here) else None
            size = max(1, CELL_NUMBERS // seen.outputs[place].numel())
            for chunk in (here[start : start + size] for start in range(0, len(here), size)):
                assert change is not None
                cells = self._cells(place, change, edges[chunk], seen.outputs[place])
                output = self._rest(
                    place, batch, rearrange(cells, "cell row ... -> (cell row) ...")
                )
                result[chunk] = read_copies(metric, output, rows)
        return result

    def linear_effects(
        self,
        batch: Batch,
        changes: Changes,
        metric: Metric,
        rows: Int[Tensor, " row"],
        moment: Moment = CLEAN,
    ) -> Float[Tensor, "row source port"]:
        """`Σ over the map of (W_ji * change_i) · ∂metric/∂preactivation_j`."""
        with torch.no_grad():
            seen = self._clean(batch)
            change = [
                self._change(place, changes, value) for place, value in enumerate(seen.inputs)
            ]
        # A zero added to a layer's output gets exactly that output's gradient.
        leaves = [torch.zeros_like(value, requires_grad=True) for value in seen.outputs]
        added: dict[int, Hook] = {
            place: lambda value, call, leaf=leaf: value + leaf  # type: ignore[misc]
            for place, leaf in enumerate(leaves)
        }
        with torch.enable_grad():
            reading = metric(self._run(batch, self._moved(moment, seen, change), added), rows).sum()
        gradients = torch.autograd.grad(reading, leaves, allow_unused=True)
        effects = torch.zeros(len(rows), len(self.sources), len(self.ports))
        with torch.no_grad():
            for place, gradient in enumerate(gradients):
                if gradient is not None:
                    effects[:, self._reads[place], self._writes[place]] = _products(
                        self.layers[place], change[place], gradient
                    ).cpu()
        return effects

    def _clean(self, batch: Batch) -> _Seen:
        """A run with nothing replaced; the last is cached, as several methods need it."""
        if self._cached is None or self._cached[0] is not batch:
            seen = self._look(batch)
            if not self._tried:
                self._try(batch, seen)
                self._tried = True
            self._cached = (batch, seen)
        return self._cached[1]

    @torch.no_grad()
    def _look(self, batch: Batch) -> _Seen:
        order: list[int] = []
        inputs: dict[int, Tensor] = {}
        outputs: dict[int, Tensor] = {}

        def keep(place: int, into: dict[int, Tensor]) -> Hook:
            def hook(value: Tensor, call: Call) -> None:
                # Later modules may overwrite it (nn.ReLU(inplace=True)).
                into[place] = value.clone()
                if into is inputs:
                    order.append(place)

            return hook

        count = range(len(self.layers))
        final = self._run(
            batch,
            {place: keep(place, inputs) for place in count},
            {place: keep(place, outputs) for place in count},
        )
        require_order(
            [self.layers[place].name for place in order], [layer.name for layer in self.layers]
        )
        for place, layer in enumerate(self.layers):
            require_shape(layer, inputs[place], batch.inputs["input"], first=place == 0)
        if not isinstance(final, Tensor):
            raise InputError(
                f"{self.model.name} returns {type(final).__name__}; a classifier's output is one "
                "tensor [row, class]"
            )
        split = [layer.split(inputs[place]) for place, layer in enumerate(self.layers)]
        return _Seen(split, [outputs[place] for place in count], final)

    def _run(self, batch: Batch, inputs: Mapping[int, Hook], outputs: Mapping[int, Hook]) -> Any:
        """The network with hooks at layers' inputs and outputs."""
        hooks, points = dict[str, Hook](), dict[str, Point]()
        for place, layer in enumerate(self.layers):
            if place in inputs:
                name = f"input of {layer.name}"
                hooks[name], points[name] = inputs[place], Point(layer.module, "input")
            if place in outputs:
                name = f"output of {layer.name}"
                hooks[name], points[name] = outputs[place], Point(layer.module, "output")
        with placed(points, hooks, Frame(batch=batch)):
            return self.model.run(batch)

    def _rest(
        self,
        place: int,
        batch: Batch,
        value: Float[Tensor, "case width *map"],
        inputs: Mapping[int, Hook] = {},
    ) -> Any:
        """The network from a layer's output on; what comes before runs on one row, to no effect."""
        start = Batch(
            inputs={"input": batch.inputs["input"][:1]},
            items=batch.items[:1],
            offsets=batch.offsets[:1],
        )
        with observing(self.layers[place].module, after=lambda module, args, output: value):
            return self._run(start, inputs, {})

    def _change(
        self, place: int, changes: Changes, value: Float[Tensor, "row channel *place"]
    ) -> Float[Tensor, "row channel *place"]:
        first = self._reads[place].start
        return torch.cat(
            [
                changes.change(first + number, channel)
                for number, channel in enumerate(_channels(value))
            ],
            dim=1,
        )

    def _live(
        self, batch: Batch, changes: Changes, replaced: Bool[Tensor, "source port"]
    ) -> tuple[Tensor, list[Tensor]]:
        """The output, and layers' inputs, of a run whose edges are replaced live."""
        inputs: dict[int, Tensor] = {}

        def look(value: Tensor, call: Call, place: int) -> None:
            inputs[place] = self.layers[place].split(value.clone())

        def add(value: Tensor, call: Call, place: int) -> Tensor:
            mask, layer = replaced[self._reads[place], self._writes[place]], self.layers[place]
            if not bool(mask.any()):
                return value
            weight = layer.weight
            # One convolution for all edges: the weights of those not replaced are zero.
            masked = torch.einsum("oc...,oc->oc...", weight, mask.T.to(weight))
            return value + layer.mixed(self._change(place, changes, inputs[place]), masked)

        places = range(len(self.layers))
        final = self._run(
            batch,
            {place: partial(look, place=place) for place in places},
            {place: partial(add, place=place) for place in places},
        )
        return final, [inputs[place] for place in places]

    def _cells(
        self,
        place: int,
        change: Float[Tensor, "row channel *place"],
        edges: Int[np.ndarray, "cell 2"],
        clean: Float[Tensor, "row out *map"],
    ) -> Float[Tensor, "cell row out *map"]:
        """A layer's output, once per edge with that edge changed."""
        layer = self.layers[place]
        cells = clean.expand(len(edges), *clean.shape).clone()
        channels, outs = (
            edges[:, 0] - self._reads[place].start,
            edges[:, 1] - self._writes[place].start,
        )
        for channel in np.unique(channels):
            where = torch.from_numpy(np.flatnonzero(channels == channel))
            ports = torch.from_numpy(outs[channels == channel])
            added = layer.mixed(
                change[:, channel : channel + 1], layer.weight[ports, channel : channel + 1]
            )
            cells[where, :, ports] += rearrange(added, "row port ... -> port row ...")
        return cells

    def _moved(self, moment: Moment, seen: _Seen, change: Sequence[Tensor]) -> dict[int, Hook]:
        """Hooks that move some channels towards their replacement."""
        hooks: dict[int, Hook] = {}
        for place, reads in enumerate(self._reads):
            channels = [
                source - reads.start
                for source in moment.moved
                if reads.start <= source < reads.stop
            ]
            if channels:
                hooks[place] = _putting(
                    self.layers[place], channels, seen.inputs[place] + moment.share * change[place]
                )
        return hooks

    @torch.no_grad()
    def _try(self, batch: Batch, seen: _Seen) -> None:
        """Check on a few rows that what follows a layer depends on its output alone, and each
        channel of the next layer's input on the same channel.
        """
        generator = torch.Generator().manual_seed(0)
        # Anything that bypasses the substituted layer reads noise, and so changes the output.
        noise = torch.rand(batch.inputs["input"][:1].shape, generator=generator).to(
            batch.inputs["input"]
        )
        other = Batch(inputs={"input": noise}, items=batch.items[:1], offsets=batch.offsets[:1])
        for place, layer in enumerate(self.layers):
            given, read = seen.outputs[place][:TRIED], dict[str, Tensor]()
            look: dict[int, Hook] = {
                place + 1: lambda value, call, read=read: read.update(  # type: ignore[misc]
                    value=value
                )
            }
            try:
                found = self._rest(place, other, _twice(given))
                if place + 1 < len(self.layers):
                    self._rest(place, other, shaken(given, generator), look)
            except RuntimeError as error:
                raise InputError(f"{not_a_chain(layer)} ({str(error).splitlines()[0]})") from error
            require_same(layer, found, _twice(seen.final[:TRIED]))
            if read:
                require_apart(layer, self.layers[place + 1], read["value"], len(given))


def _twice(value: Float[Tensor, "row *axes"]) -> Float[Tensor, "copy_row *axes"]:
    """Two copies, so that a shape taken from the one-row image does not fit."""
    return repeat(value, "row ... -> (copy row) ...", copy=2)


def _putting(
    layer: Layer, channels: Sequence[int], values: Float[Tensor, "row channel *place"]
) -> Hook:
    def hook(value: Tensor, call: Call) -> Tensor:
        new = layer.split(value).clone()
        new[:, channels] = values[:, channels]
        return new.reshape(value.shape)

    return hook


def _channels(value: Float[Tensor, "row channel *place"]) -> tuple[Tensor, ...]:
    return value.chunk(value.shape[1], dim=1)


def _stretches(sizes: Sequence[int]) -> list[slice]:
    ends = np.cumsum([0, *sizes]).tolist()
    return [slice(start, stop) for start, stop in pairwise(ends)]


def _products(
    layer: Layer,
    change: Float[Tensor, "row channel *place"],
    gradient: Float[Tensor, "row out *map"],
) -> Float[Tensor, "row channel out"]:
    """Every contribution's change times the gradient, summed over the map; one channel at a time,
    so that no `[channel, out, map]` is stored.
    """
    parts = zip(_channels(change), _channels(layer.weight), strict=True)
    sums = [
        (layer.mixed(channel, weight) * gradient).reshape(*gradient.shape[:2], -1).sum(dim=2)
        for channel, weight in parts
    ]
    return torch.stack(sums, dim=1)
