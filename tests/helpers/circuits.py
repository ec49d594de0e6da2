"""Small residual transformers whose weights are written by hand, so that what every part does is
known beforehand.

Subspaces of the stream are named: a head reads its query, key and value from some and writes its
output to one. Nothing is trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causal import ResidualWiring
from interp.models import ModuleModel
from interp.models.adapters.stream import AttentionParts, MlpParts, Projection, ResidualParts

HIDDEN = -1e9


class Attention(nn.Module):
    """Heads without biases and without scaling: how sharp attention is lies in the weights of the
    queries.
    """

    def __init__(self, width: int, heads: int, inner: int, *, causal: bool = True) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q, self.k, self.v = (_empty(width, heads * inner) for _ in range(3))
        self.o = _empty(heads * inner, width)

    def forward(self, stream: Float[Tensor, "row position d"]) -> Float[Tensor, "row position d"]:
        query, key, value = (
            part(stream).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        scores = query @ key.mT
        if self.causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, HIDDEN)
        return self.o((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """`out · relu(into · x + bias)`; without the relu where it is linear."""

    def __init__(self, width: int, neurons: int, *, linear: bool = False) -> None:
        super().__init__()
        self.into, self.out = nn.utils.skip_init(nn.Linear, width, neurons), _empty(neurons, width)
        nn.init.zeros_(self.into.weight)
        nn.init.zeros_(self.into.bias)
        self.linear = linear

    def forward(self, stream: Float[Tensor, "row position d"]) -> Float[Tensor, "row position d"]:
        inner = self.into(stream)
        return self.out(inner if self.linear else inner.relu())


class Block(nn.Module):
    """Attention, then an MLP; either may be missing."""

    def __init__(self, attention: Attention | None, mlp: Mlp | None) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.Identity(), nn.Identity()
        self.attention, self.mlp = attention, mlp

    def forward(self, stream: Float[Tensor, "row position d"]) -> Float[Tensor, "row position d"]:
        if self.attention is not None:
            stream = stream + self.attention(self.norm_attention(stream))
        return stream if self.mlp is None else stream + self.mlp(self.norm_mlp(stream))


class Circuit(nn.Module):
    """Token ids `[row, position]` to logits `[row, position, vocabulary]`; tokens and positions are
    embedded together.
    """

    def __init__(
        self,
        tokens: Float[Tensor, "token d"],
        positions: Float[Tensor, "place d"],
        blocks: Sequence[Block],
        outputs: int,
    ) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Parameter(tokens), nn.Parameter(positions)
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = nn.Identity()
        self.unembed = _empty(tokens.shape[1], outputs)

    def forward(self, ids: Int[Tensor, "row position"]) -> Float[Tensor, "row position output"]:
        stream = self.tokens[ids] + self.positions[: ids.shape[1]]
        for block in self.blocks:
            stream = block(stream)
        return self.unembed(self.final_norm(stream))


def parts_of(module: Circuit) -> ResidualParts:
    """The circuit's stream, as the package wants it described."""
    return ResidualParts(
        d_model=module.tokens.shape[1],
        blocks=tuple(module.blocks),
        attention=tuple(
            None if block.attention is None else _attention_parts(block) for block in module.blocks
        ),
        mlps=tuple(
            None if block.mlp is None else MlpParts(block.norm_mlp, block.mlp)
            for block in module.blocks
        ),
        parallel=False,
        final_norm=module.final_norm,
        unembed=module.unembed,
    )


def wired(module: Circuit) -> ResidualWiring:
    """The circuit as a wiring."""
    return ResidualWiring(ModuleModel(module), parts_of(module))


@torch.no_grad()
def rotated(module: Circuit, seed: int = 0) -> Circuit:
    """The same function (the module itself, changed) in a stream turned at random, so that no part
    has axes of its own.
    """
    drawn = torch.randn(2 * module.tokens.shape[1:], generator=torch.Generator().manual_seed(seed))
    turn = torch.linalg.qr(drawn).Q
    readers, writers = [module.unembed], []
    for block in module.blocks:
        if block.attention is not None:
            readers += [block.attention.q, block.attention.k, block.attention.v]
            writers.append(block.attention.o)
        if block.mlp is not None:
            readers.append(block.mlp.into)
            writers.append(block.mlp.out)
    for table in (module.tokens, module.positions):
        table.copy_(table @ turn)
    for reader in readers:
        reader.weight.copy_(reader.weight @ turn)
    for writer in writers:
        writer.weight.copy_(turn.T @ writer.weight)
    return module


@dataclass
class Layout:
    """Named subspaces of the stream, one after the other."""

    sizes: Mapping[str, int]
    places: dict[str, slice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start = 0
        for name, size in self.sizes.items():
            self.places[name] = slice(start, start + size)
            start += size
        self.width = start

    def __getitem__(self, name: str) -> slice:
        return self.places[name]


@torch.no_grad()
def write_head(
    attention: Attention,
    head: int,
    layout: Layout,
    *,
    query: tuple[str, Tensor],
    key: tuple[str, Tensor],
    value: tuple[str, Tensor],
    output: tuple[str, Tensor],
) -> None:
    """Set one head: query, key and value each read a subspace through a matrix `[inner, size]`, the
    output `[size, inner]` writes one.
    """
    inner = attention.q.out_features // attention.heads
    start = head * inner
    for part, (name, matrix) in ((attention.q, query), (attention.k, key), (attention.v, value)):
        part.weight[start : start + len(matrix), layout[name]] = matrix.float()
    name, matrix = output
    attention.o.weight[layout[name], start : start + matrix.shape[1]] = matrix.float()


def _empty(inputs: int, outputs: int) -> nn.Linear:
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def _attention_parts(block: Block) -> AttentionParts:
    attention = block.attention
    assert attention is not None
    columns = tuple(torch.arange(attention.q.out_features).chunk(attention.heads))
    query, key, value = (
        Projection(part, columns) for part in (attention.q, attention.k, attention.v)
    )
    return AttentionParts(
        norm=block.norm_attention,
        module=attention,
        query=query,
        key=key,
        value=value,
        out=attention.o,
    )


def linear_network(
    layers: int = 3, width: int = 5, *, vocabulary: int = 7, length: int = 3, seed: int = 0
) -> Circuit:
    """No attention, MLPs that are linear maps: every edge's effect is a product of matrices."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return 0.4 * torch.randn(*shape, generator=generator)

    module = Circuit(
        drawn(vocabulary, width),
        drawn(length, width),
        [Block(None, Mlp(width, width, linear=True)) for _ in range(layers)],
        vocabulary,
    )
    with torch.no_grad():
        for parameter in (
            module.unembed.weight,
            *(layer for block in module.blocks for layer in block.mlp.parameters()),
        ):
            parameter.copy_(drawn(*parameter.shape))
    return module
