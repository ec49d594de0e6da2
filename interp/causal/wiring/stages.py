"""Where a residual stream is written and read: its writers, and its stages of a norm and ports."""

from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causal.wiring.wiring import Port
from interp.models.adapters.stream import AttentionParts, Projection, ResidualParts
from interp.models.hooks import Point, projection_rows

CELL_TOKENS = 2048
"""Tokens of one forward call that serves many edges."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A norm that reads the stream, and the ports behind it: an attention layer's, an MLP's, or the
    logits.

    `n_sources` sources write before it; its ports are numbered from `first_port`. `projections`
    holds, for an attention layer's linear maps, which of the stage's ports have which columns of
    the output.
    """

    block: int
    norm: nn.Module
    n_sources: int
    first_port: int
    names: tuple[tuple[str, tuple[str, ...]], ...]
    layer: int
    attention: AttentionParts | None = None
    projections: tuple[tuple[nn.Module, tuple[tuple[int, Int[Tensor, " c"]], ...]], ...] = ()

    @property
    def n_ports(self) -> int:
        """How many ports read here."""
        return len(self.names)

    def normed(self, stream: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        """A stream through the norm without its hooks: one of them may be the caller."""
        result: Tensor = self.norm.forward(stream)
        return result


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A part that writes to the stream: where its contribution is read, and its first source.

    An attention layer's heads are read at the input of the output projection, whose rows for each
    head are `matrix [head, c, d]`; other parts have one source and no matrix.
    """

    block: int
    point: Point
    names: tuple[str, ...]
    first: int
    layer: int
    matrix: Float[Tensor, "head c d"] | None = None

    @property
    def sources(self) -> range:
        """The numbers of its sources."""
        return range(self.first, self.first + len(self.names))

    @property
    def changed_at(self) -> Point:
        """Where its contribution can be changed: for heads, the output of their projection."""
        return self.point if self.matrix is None else Point(self.point.module, "output")


def stream_writers(parts: ResidualParts) -> tuple[Writer, ...]:
    """All parts that write to the stream in order, the input first."""
    found = [
        Writer(block=0, point=Point(parts.blocks[0], "input"), names=("embed",), first=0, layer=0)
    ]
    for block, (attention, mlp) in enumerate(zip(parts.attention, parts.mlps, strict=True)):
        if attention is not None:
            first, layer = found[-1].sources.stop, 2 * block + 1
            if attention.added is not None:
                found.append(
                    Writer(
                        block=block,
                        point=Point(attention.added, "output"),
                        names=(f"L{block}.attn",),
                        first=first,
                        layer=layer,
                    )
                )
            else:
                names, rows = tuple(_heads(block, attention)), projection_rows(attention.out)
                heads = rearrange(rows, "(head c) d -> head c d", head=len(names))
                found.append(
                    Writer(
                        block=block,
                        point=Point(attention.out, "input"),
                        names=names,
                        first=first,
                        layer=layer,
                        matrix=heads,
                    )
                )
        if mlp is not None:
            found.append(
                Writer(
                    block=block,
                    point=Point(mlp.module, "output"),
                    names=(f"L{block}.mlp",),
                    first=found[-1].sources.stop,
                    layer=2 * block + 2,
                )
            )
    return tuple(found)


def read_stages(parts: ResidualParts) -> tuple[Stage, ...]:
    """All places where the stream is read, in order."""
    stages: list[Stage] = []
    written, port = 1, 0
    for block, (attention, mlp) in enumerate(zip(parts.attention, parts.mlps, strict=True)):
        before = written
        if attention is not None:
            names = _attention_ports(block, attention)
            stages.append(
                Stage(
                    block=block,
                    norm=attention.norm,
                    n_sources=written,
                    first_port=port,
                    names=names,
                    layer=2 * block + 1,
                    attention=attention,
                    projections=_projections(attention, len(names)),
                )
            )
            port += len(names)
            written += 1 if attention.added is not None else len(attention.query.columns)
        if mlp is not None:
            seen = before if parts.parallel else written
            stages.append(
                Stage(
                    block=block,
                    norm=mlp.norm,
                    n_sources=seen,
                    first_port=port,
                    names=((f"L{block}.mlp.in", (f"L{block}.mlp",)),),
                    layer=2 * block + 2,
                )
            )
            port, written = port + 1, written + 1
    end = len(parts.blocks)
    stages.append(
        Stage(
            block=end,
            norm=parts.final_norm,
            n_sources=written,
            first_port=port,
            names=(("logits", ("logits",)),),
            layer=2 * end + 1,
        )
    )
    return tuple(stages)


def stream_ports(stages: tuple[Stage, ...]) -> tuple[Port, ...]:
    """Every stage's ports in order."""
    return tuple(Port(name, nodes, stage.layer) for stage in stages for name, nodes in stage.names)


def _heads(block: int, attention: AttentionParts) -> list[str]:
    return [f"L{block}.head{head}" for head in range(len(attention.query.columns))]


def _attention_ports(
    block: int, attention: AttentionParts
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Queries of all heads, then keys, then values; a shared key belongs to all heads that it
    serves.
    """
    heads = _heads(block, attention)
    nodes = [f"L{block}.attn"] * len(heads) if attention.added is not None else heads
    found: list[tuple[str, tuple[str, ...]]] = [
        (f"{name}.q", (node,)) for name, node in zip(heads, nodes, strict=True)
    ]
    for kind, projection in (("k", attention.key), ("v", attention.value)):
        served = len(heads) // len(projection.columns)
        for number in range(len(projection.columns)):
            name = heads[number] if served == 1 else f"L{block}.kv{number}"
            found.append(
                (
                    f"{name}.{kind}",
                    tuple(dict.fromkeys(nodes[number * served : (number + 1) * served])),
                )
            )
    return tuple(found)


def _projections(
    attention: AttentionParts, count: int
) -> tuple[tuple[nn.Module, tuple[tuple[int, Tensor], ...]], ...]:
    """Maps with the ports that read through them; queries, keys and values may share one map."""
    maps: dict[int, tuple[nn.Module, list[tuple[int, Tensor]]]] = {}
    port = 0
    projections: tuple[Projection, ...] = (attention.query, attention.key, attention.value)
    for projection in projections:
        _, places = maps.setdefault(id(projection.module), (projection.module, []))
        for columns in projection.columns:
            places.append((port, columns))
            port += 1
    assert port == count
    return tuple((module, tuple(places)) for module, places in maps.values())
