"""A classifier as a chain of convolutions and linear maps: finding it, refusing other networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.core import InputError
from interp.models import ModuleModel

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Layer:
    """A convolution or linear map of `channels` input channels, each a map or a run of columns."""

    name: str
    module: nn.Conv2d | nn.Linear
    channels: int

    @property
    def width(self) -> int:
        """How many channels (or classes) come out."""
        return (
            self.module.out_channels
            if isinstance(self.module, nn.Conv2d)
            else self.module.out_features
        )

    @property
    def weight(self) -> Float[Tensor, "out channel *kernel"]:
        """The weight, a linear map's columns grouped by channel."""
        own: Tensor = self.module.weight
        return (
            own if isinstance(self.module, nn.Conv2d) else own.reshape(len(own), self.channels, -1)
        )

    def split(self, value: Float[Tensor, "row *input"]) -> Float[Tensor, "row channel *place"]:
        """What the layer reads, by channels."""
        return (
            value
            if isinstance(self.module, nn.Conv2d)
            else value.reshape(len(value), self.channels, -1)
        )

    def mixed(
        self,
        value: Float[Tensor, "row channel *place"],
        weight: Float[Tensor, "out channel *kernel"],
    ) -> Float[Tensor, "row out *map"]:
        """The layer without its bias, with another weight: some channels in, some channels out."""
        if isinstance(self.module, nn.Conv2d):
            return self.module._conv_forward(value, weight, None)
        return torch.einsum("rcp,ocp->ro", value, weight)


def chained(model: ModuleModel, example: Tensor | None = None) -> tuple[Layer, ...]:
    """A network's convolutions and linear maps in order of execution (without an example, of
    registration).

    Raises:
        InputError: there are none, one is grouped or pads in an unusual way, or one does not read
            as many channels as the one before makes.
    """
    found = {
        name: part
        for name, part in model.module.named_modules()
        if name and isinstance(part, nn.Conv2d | nn.Linear)
    }
    names = list(found) if example is None else _called(model, list(found), example)
    if not names:
        raise InputError(
            f"{model.name} has no nn.Conv2d or nn.Linear inside; put a bare layer into "
            "nn.Sequential, or give a convolutional classifier"
        )
    layers: list[Layer] = []
    for name in names:
        channels = layers[-1].width if layers else _image_channels(found[name], example)
        layers.append(
            _layer(name, found[name], channels, layers[-1].name if layers else "the image")
        )
    return tuple(layers)


def require_order(called: Sequence[str], expected: Sequence[str]) -> None:
    """Check that every layer ran once, in the order of the chain.

    Raises:
        InputError: a layer ran twice or not at all, or the order is another.
    """
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        raise InputError(
            f"{twice[0]} runs {called.count(twice[0])} times in one forward call; a chain of "
            "channels runs every layer once"
        )
    if list(called) != list(expected):
        raise InputError(
            f"layers ran in the order {', '.join(called) or 'none'}, not {', '.join(expected)}; "
            "give one input batch: ChannelWiring(model, example)"
        )


def require_shape(layer: Layer, value: Tensor, image: Tensor, *, first: bool) -> None:
    """Check that a linear map reads one vector per row, and the first layer the image's channels.

    Raises:
        InputError: it reads something else.
    """
    if isinstance(layer.module, nn.Linear) and value.ndim != 2:
        raise InputError(
            f"{layer.name} reads {tuple(value.shape)}; in a chain of channels a linear map reads "
            "one vector per row, after a flatten"
        )
    if first and image.ndim > 2 and image.shape[1] != layer.channels:
        raise InputError(
            f"images have {image.shape[1]} channels but {layer.name} reads {layer.channels}; "
            "give one input batch: ChannelWiring(model, example)"
        )


def require_same(layer: Layer, found: Tensor, expected: Tensor) -> None:
    """Check that the network, resumed from a layer's output, reproduces its own output.

    Raises:
        InputError: it does not, because something later bypasses the layer.
    """
    scale = TOLERANCE * float(expected.abs().max())
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=0, atol=scale):
        raise InputError(not_a_chain(layer))


def not_a_chain(layer: Layer) -> str:
    """The message for a network that is no chain."""
    return (
        f"what follows {layer.name} reads more than its output (a residual addition, a branch, or "
        "a shape taken from the image); "
        "a chain of channels is needed, where each layer reads the one before"
    )


def shaken(
    value: Float[Tensor, "row channel *map"], generator: torch.Generator
) -> Float[Tensor, "case channel *map"]:
    """The value, then copies with noise in half of the channels; for any two channels some copy has
    noise in the first only.
    """
    scale = value.abs().max() + 1
    noise = 2 * scale * (torch.rand(value.shape, generator=generator).to(value) - 0.5)
    copies = [value]
    for chosen in _halves(value.shape[1]):
        copies.append(value + noise * chosen.to(value).reshape(1, -1, *(1,) * (value.ndim - 2)))
    return torch.cat(copies)


def require_apart(layer: Layer, later: Layer, read: Tensor, rows: int) -> None:
    """Check, from what the next layer read of `shaken` values, that channels stay apart.

    Raises:
        InputError: what lies between the layers mixes channels.
    """
    channels = later.split(read)
    clean, *copies = channels.chunk(len(channels) // rows)
    for chosen, copy in zip(_halves(layer.width), copies, strict=True):
        others = (~chosen).nonzero()[:, 0].to(read.device)
        if not torch.allclose(
            copy[:, others], clean[:, others], rtol=0, atol=TOLERANCE * float(clean.abs().max())
        ):
            raise InputError(
                f"what lies between {layer.name} and {later.name} mixes channels (a norm or "
                "softmax over channels, a flatten with channels last, another kind of layer); only "
                "what keeps channels apart can lie between layers"
            )


def _halves(channels: int) -> list[Tensor]:
    """Sets of channels by the bits of their numbers, and the complements: any two channels differ
    in one bit.
    """
    numbers = torch.arange(channels)
    bits = [(numbers >> bit) % 2 == 1 for bit in range((channels - 1).bit_length())]
    return [*bits, *(~bit for bit in bits)]


def _called(model: ModuleModel, names: Sequence[str], example: Tensor) -> list[str]:
    order: list[str] = []
    with torch.no_grad():
        model.run(
            example,
            {
                f"module:{name}": lambda value, call: order.append(
                    call.site.removeprefix("module:")
                )
                for name in names
            },
        )
    require_order(order, list(dict.fromkeys(order)))
    return order


def _image_channels(first: nn.Module, example: Tensor | None) -> int:
    if isinstance(first, nn.Conv2d):
        return first.in_channels
    assert isinstance(first, nn.Linear)
    return first.in_features if example is None else example.shape[1]


def _layer(name: str, module: nn.Module, channels: int, before: str) -> Layer:
    assert isinstance(module, nn.Conv2d | nn.Linear)
    reads = module.in_channels if isinstance(module, nn.Conv2d) else module.in_features
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        raise InputError(
            f"{name} is a grouped convolution ({module.groups} groups); only plain convolutions "
            "have an edge between any two channels"
        )
    if reads % channels or (isinstance(module, nn.Conv2d) and reads != channels):
        raise InputError(
            f"{name} reads {reads} channels or columns, but {before} has {channels} channels; a "
            "chain of channels is needed"
        )
    return Layer(name, module, channels)
