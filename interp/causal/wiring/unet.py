"""Diffusion UNets as wiring: resnets of the way up read a skip connection and the backbone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causal.wiring.replacement import Changes
from interp.causal.wiring.wiring import CLEAN, Metric, Moment, Node, Port, Wiring
from interp.core import InputError
from interp.models import Batch, UNetModel
from interp.models.adapters.unet import NoisedImages
from interp.models.hooks import Point, observing, placed
from interp.models.protocol import Call, Frame, Hook

Half = Callable[[int, Tensor], Tensor]
"""From a port's number and input `[row, channel, y, x]` to its new input."""


@dataclass(frozen=True)
class _Place:
    """A module of the way up and its ports: number, source, and channels of the input."""

    name: str
    module: nn.Module
    ports: tuple[tuple[int, int, slice], ...]


class UNetWiring(Wiring):
    """A `UNet2DModel` or `UNet2DConditionModel` at one noise level.

    Sources are the skip connections, `input.skip`, `down0.skip0`, `down0.skip1`, …, the bottleneck
    `mid`, and every resnet of the way up, `up0.resnet0`, …, as the next one reads it (after
    attention and upsampling). Ports are the two halves of such a resnet's input,
    `up0.resnet0.backbone` and `up0.resnet0.skip`, and `eps`, the output layers' input. Every port
    reads one source. Values are `[row, channel, y, x]`; directions lie along channels. Inputs are
    `NoisedImages`; the output is the predicted noise.

    Raises:
        InputError: the way up does not consist of resnets with skip connections, or sampling plans
            are given.

    Example:
        >>> wiring = UNetWiring(unet)
        >>> wiring.numbers(
        ...     [Edge("mid", "up0.resnet0.backbone"), Edge("down1.skip0", "up0.resnet0.skip")]
        ... )
    """

    feature_axis = 1

    def __init__(self, model: UNetModel) -> None:
        self.model: UNetModel = model
        handed = _handed_over(model)
        resnets = [
            (f"up{i}.resnet{j}", part)
            for i, block in enumerate(model.module.up_blocks)
            for j, part in enumerate(_resnets(block))
        ]
        if len(resnets) != len(handed):
            raise InputError(
                f"{model.name} hands over {len(handed)} skip connections to {len(resnets)} "
                "resnets; one for each is needed"
            )
        middle = (
            "mid"
            if model.module.mid_block is not None
            else f"down{len(model.module.down_blocks) - 1}"
        )
        self.sources = (
            *(Node(name, 0) for name in (*handed, middle)),
            *(Node(name, place) for place, (name, _) in enumerate(resnets, 1)),
        )
        halves = [
            Port(f"{name}.{half}", (name,), place)
            for place, (name, _) in enumerate(resnets, 1)
            for half in ("backbone", "skip")
        ]
        self.ports = (*halves, Port("eps", ("eps",), len(resnets) + 1))
        self._places = _ports_of(model, resnets, len(handed))
        self._tried = False

    @cached_property
    def connected(self) -> Bool[Tensor, "source port"]:
        """Each port reads one source."""
        table = torch.zeros(len(self.sources), len(self.ports), dtype=torch.bool)
        for source, port in self._reads.items():
            table[source, port] = True
        return table

    @property
    def source_groups(self) -> tuple[tuple[int, ...], ...]:
        """What comes from the way down, then every resnet."""
        down = tuple(number for number, node in enumerate(self.sources) if node.layer == 0)
        return (down, *((number,) for number in range(len(down), len(self.sources))))

    @torch.no_grad()
    def observe(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> tuple[Tensor, ...]:
        """Every source as it is read, `[row, channel, y, x]`."""
        seen: dict[int, Tensor] = {}

        def half(port: int, value: Tensor) -> Tensor:
            source = self._source(port)
            seen[source] = value.clone()
            return (
                value
                if changes is None or replaced is None
                else _replaced(changes, replaced, source, port, value)
            )

        self._run(batch, half)
        return tuple(seen[source] for source in range(len(self.sources)))

    @torch.no_grad()
    def output(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> Float[Tensor, "row channel y x"]:
        """The predicted noise, with some edges' contributions replaced."""
        if changes is None or replaced is None:
            return self._run(batch)
        return self._run(
            batch, lambda port, value: _replaced(changes, replaced, self._source(port), port, value)
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
        """Each edge replaced alone. Cost: a forward pass each; a UNet has few."""
        found = torch.empty(len(edges), len(rows))
        for number, edge in enumerate(edges):
            found[number] = (
                metric(self.output(batch, changes, self.mask(edge[None])), rows).float().cpu()
            )
        return found

    def linear_effects(
        self,
        batch: Batch,
        changes: Changes,
        metric: Metric,
        rows: Int[Tensor, " row"],
        moment: Moment = CLEAN,
    ) -> Float[Tensor, "row source port"]:
        """`Σ over channels and pixels of change_source · ∂metric/∂port`."""
        clean = self.observe(batch)
        change = [changes.change(source, value) for source, value in enumerate(clean)]
        leaves: dict[int, Tensor] = {}

        def half(port: int, value: Tensor) -> Tensor:
            source = self._source(port)
            if source in moment.moved:
                value = clean[source] + moment.share * change[source]
            leaves[port] = torch.zeros_like(value, requires_grad=True)
            return value + leaves[port]

        with torch.enable_grad():
            reading = metric(self._run(batch, half), rows).sum()
        ports = sorted(leaves)
        gradients = torch.autograd.grad(
            reading, [leaves[port] for port in ports], allow_unused=True
        )
        effects = torch.zeros(len(rows), len(self.sources), len(self.ports))
        for port, gradient in zip(ports, gradients, strict=True):
            source = self._source(port)
            if gradient is not None:
                effects[:, source, port] = (change[source] * gradient).flatten(1).sum(dim=1).cpu()
        return effects

    @cached_property
    def _reads(self) -> Mapping[int, int]:
        """The port of every source."""
        return {source: port for place in self._places for port, source, _ in place.ports}

    @cached_property
    def _sources_of(self) -> Mapping[int, int]:
        return {port: source for source, port in self._reads.items()}

    def _source(self, port: int) -> int:
        return self._sources_of[port]

    def _run(self, batch: Batch, half: Half | None = None) -> Tensor:
        """The network with its ports' inputs passed through `half`."""
        part = batch.inputs["part"]
        if not isinstance(part, NoisedImages) or len(part.images) != len(batch.items):
            raise InputError(
                "a UNet's paths are those at one noise level; give NoisedImages, one batch whole, "
                f"not {type(part).__name__}"
            )
        if not self._tried:
            self._try(batch)
            self._tried = True
        return self._hooked(
            batch,
            {}
            if half is None
            else {place.name: partial(_through, place, half) for place in self._places},
        )

    def _hooked(self, batch: Batch, hooks: Mapping[str, Hook]) -> Tensor:
        with placed(
            {place.name: Point(place.module, "input") for place in self._places},
            hooks,
            Frame(batch=batch),
        ):
            eps = self.model.run(batch)
        assert eps is not None
        return eps

    @torch.no_grad()
    def _try(self, batch: Batch) -> None:
        """Check that every resnet runs once, in order, and reads its skip connection unchanged."""
        handed: list[Tensor] = []
        read: list[tuple[str, Tensor]] = []

        def take(module: nn.Module, args: Any, output: Any) -> None:
            handed.extend([output] if isinstance(output, Tensor) else output[1])

        def look(value: Tensor, call: Call) -> None:
            read.append((call.site, value))

        with observing(self.model.module.conv_in, *self.model.module.down_blocks, after=take):
            self._hooked(batch, {place.name: look for place in self._places})
        if [name for name, _ in read] != [place.name for place in self._places]:
            raise InputError(
                f"{self.model.name} runs {', '.join(name for name, _ in read)}; every resnet of "
                "the way up should run once, in order"
            )
        for place, (_, value) in zip(self._places[:-1], read, strict=False):
            _, (_, source, channels) = place.ports
            if source >= len(handed) or not torch.equal(value[:, channels], handed[source]):
                raise InputError(
                    f"{place.name} of {self.model.name} does not read {self.sources[source].name} "
                    "as it was handed over"
                )


def _through(place: _Place, half: Half, value: Tensor, call: Call) -> Tensor:
    return torch.cat([half(port, value[:, channels]) for port, _, channels in place.ports], dim=1)


def _replaced(
    changes: Changes, replaced: Bool[Tensor, "source port"], source: int, port: int, value: Tensor
) -> Tensor:
    return value + changes.change(source, value) if bool(replaced[source, port]) else value


def _resnets(block: nn.Module) -> list[nn.Module]:
    resnets = getattr(block, "resnets", None)
    if resnets is None or any(not hasattr(part, "in_channels") for part in resnets):
        raise InputError(
            f"{type(block).__name__} has no resnets that say their channels; its edges cannot be "
            "told apart"
        )
    return list(resnets)


def _handed_over(model: UNetModel) -> list[str]:
    """The skip connections in order: the first convolution's, every resnet's and downsampler's."""
    names = ["input.skip"]
    for level, block in enumerate(model.module.down_blocks):
        count = len(_resnets(block)) + bool(getattr(block, "downsamplers", None))
        names += [f"down{level}.skip{number}" for number in range(count)]
    return names


def _ports_of(
    model: UNetModel, resnets: list[tuple[str, nn.Module]], handed: int
) -> tuple[_Place, ...]:
    """Every resnet with its two halves (last skip connection first), and the output layers."""
    places = []
    backbone, width = handed, int(model.module.config.block_out_channels[-1])
    for number, (name, module) in enumerate(resnets):
        block: Any = module
        reads, gives = int(block.in_channels), int(block.out_channels)
        halves = (
            (2 * number, backbone, slice(0, width)),
            (2 * number + 1, handed - 1 - number, slice(width, reads)),
        )
        places.append(_Place(name, module, halves))
        backbone, width = handed + 1 + number, gives
    return (
        *places,
        _Place("eps", model.module.conv_norm_out, ((2 * len(resnets), backbone, slice(0, width)),)),
    )
