"""Where a residual stream is read: the stages of a forward pass, each a norm with one or more ports behind it."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causal.wiring import Node, Port
from interp.models.stream import AttentionParts, Projection, ResidualParts


@dataclass(frozen=True)
class Stage:
    """A norm that reads the stream, and the ports behind it: an attention layer's, an MLP's, or the logits.

    `n_sources` sources have written before it; its ports are numbered from `first_port` on. `projections` holds, for an attention layer's
    linear maps, which of the stage's ports read through which columns of the output.
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
        """A stream through the norm; hooks on the norm, which may be what asks, are not called again."""
        result: Tensor = self.norm.forward(stream)
        return result


def stream_sources(parts: ResidualParts) -> tuple[tuple[Node, ...], tuple[tuple[int, ...], ...]]:
    """The nodes that write to the stream in order, and which of them are one part of one layer."""
    nodes: list[Node] = [Node("embed", 0)]
    groups: list[tuple[int, ...]] = [(0,)]
    for block, (attention, mlp) in enumerate(zip(parts.attention, parts.mlps, strict=True)):
        if attention is not None:
            names = [f"L{block}.attn"] if attention.added is not None else _heads(block, attention)
            groups.append(tuple(range(len(nodes), len(nodes) + len(names))))
            nodes += [Node(name, 2 * block + 1) for name in names]
        if mlp is not None:
            groups.append((len(nodes),))
            nodes.append(Node(f"L{block}.mlp", 2 * block + 2))
    return tuple(nodes), tuple(groups)


def read_stages(parts: ResidualParts) -> tuple[Stage, ...]:
    """All places where the stream is read, in order."""
    stages: list[Stage] = []
    written, port = 1, 0
    for block, (attention, mlp) in enumerate(zip(parts.attention, parts.mlps, strict=True)):
        before = written
        if attention is not None:
            names = _attention_ports(block, attention)
            stages.append(Stage(block, attention.norm, written, port, names, 2 * block + 1, attention, _projections(attention, len(names))))
            port += len(names)
            written += 1 if attention.added is not None else len(attention.query.columns)
        if mlp is not None:
            seen = before if parts.parallel else written
            stages.append(Stage(block, mlp.norm, seen, port, ((f"L{block}.mlp.in", (f"L{block}.mlp",)),), 2 * block + 2))
            port, written = port + 1, written + 1
    end = len(parts.blocks)
    stages.append(Stage(end, parts.final_norm, written, port, (("logits", ("logits",)),), 2 * end + 1))
    return tuple(stages)


def stream_ports(stages: tuple[Stage, ...]) -> tuple[Port, ...]:
    """Every stage's ports in order."""
    return tuple(Port(name, nodes, stage.layer) for stage in stages for name, nodes in stage.names)


def _heads(block: int, attention: AttentionParts) -> list[str]:
    return [f"L{block}.head{head}" for head in range(len(attention.query.columns))]


def _attention_ports(block: int, attention: AttentionParts) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Queries of all heads, then keys, then values; a shared key belongs to all heads that it serves."""
    heads = _heads(block, attention)
    nodes = [f"L{block}.attn"] * len(heads) if attention.added is not None else heads
    found: list[tuple[str, tuple[str, ...]]] = [(f"{name}.q", (node,)) for name, node in zip(heads, nodes, strict=True)]
    for kind, projection in (("k", attention.key), ("v", attention.value)):
        served = len(heads) // len(projection.columns)
        for number in range(len(projection.columns)):
            name = heads[number] if served == 1 else f"L{block}.kv{number}"
            found.append((f"{name}.{kind}", tuple(dict.fromkeys(nodes[number * served : (number + 1) * served]))))
    return tuple(found)


def _projections(attention: AttentionParts, count: int) -> tuple[tuple[nn.Module, tuple[tuple[int, Tensor], ...]], ...]:
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
