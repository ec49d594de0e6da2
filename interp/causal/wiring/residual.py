"""Transformers as wiring: heads and MLPs add to a residual stream; queries, keys, values, MLPs and
the logits read it.

A port reads the stream plus its sources' changes, so biases, position embeddings and whatever else
the stream carries need no accounting.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causal.wiring.replacement import Changes
from interp.causal.wiring.residual_linear import linear_effects, softmax_effects
from interp.causal.wiring.residual_single import Rest
from interp.causal.wiring.stages import Stage, Writer, read_stages, stream_ports, stream_writers
from interp.causal.wiring.wiring import CLEAN, Metric, Moment, Node, Wiring
from interp.core import InputError
from interp.models import Batch, Model, TransformerModel
from interp.models.adapters.stream import ResidualParts, residual_parts
from interp.models.adapters.tokens import last_positions, positions_of
from interp.models.hooks import Point, ended_early, placed, projection_rows
from interp.models.protocol import Call, Frame, Hook

TOLERANCE = 1e-4


class ResidualWiring(Wiring):
    """A transformer with a residual stream.

    Sources are `embed`, `L0.head0`, …, `L0.mlp`, …; ports `L0.head0.q`, `L0.head0.k`, `L0.head0.v`,
    …, `L0.mlp.in`, …, `logits`.

    With grouped-query attention `L0.kv0.k` serves several heads. The output is the logits at each
    example's last token. Where the heads' sum is normed before it is added (Gemma), the whole layer
    is the source: `L0.attn`.

    Raises:
        InputError: the network's stream is not a plain sum of its parts.

    Example:
        >>> wiring = ResidualWiring(model)
        >>> wiring.output(batch, changes, wiring.connected)     # every contribution replaced
    """

    def __init__(self, model: Model, parts: ResidualParts | None = None) -> None:
        self.model = model
        self.parts = parts or _parts_of(model)
        self.writers = stream_writers(self.parts)
        self.sources = tuple(
            Node(name, writer.layer) for writer in self.writers for name in writer.names
        )
        self.stages = read_stages(self.parts)
        self.ports = stream_ports(self.stages)
        self._cached: tuple[Batch, Changes, Tensor] | None = None
        self._ends: list[tuple[Batch, Tensor]] = []
        """The final normed stream at the last tokens of recent clean runs, so that a run already
        observed need not be repeated for its logits.
        """

    @cached_property
    def connected(self) -> Bool[Tensor, "source port"]:
        """Earlier sources to later ports."""
        table = torch.zeros(len(self.sources), len(self.ports), dtype=torch.bool)
        for stage in self.stages:
            table[: stage.n_sources, stage.first_port : stage.first_port + stage.n_ports] = True
        return table

    @property
    def source_groups(self) -> tuple[tuple[int, ...], ...]:
        """The input, then every layer's heads, every MLP."""
        return tuple(tuple(writer.sources) for writer in self.writers)

    @property
    def droppable(self) -> tuple[int, ...]:
        """Every block."""
        return tuple(range(len(self.parts.blocks)))

    @torch.no_grad()
    def observe(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> tuple[Tensor, ...]:
        """Every source's contribution to the stream, `[row, position, d]` each."""
        found: dict[int, Tensor] = {}
        if changes is None or replaced is None:
            self._remember(batch, self._final(batch, self._watching(found.__setitem__)))
        else:
            self._final(batch, _Live(self, changes, replaced.float(), found.__setitem__).hooks())
        return tuple(found[source] for source in range(len(self.sources)))

    @torch.no_grad()
    def output(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> Float[Tensor, "row vocabulary"]:
        """The logits at each example's last token, with some edges' contributions replaced."""
        if changes is None or replaced is None:
            known = [end for other, end in self._ends if other is batch and not self._changed]
            return self._logits(
                known[0] if known else self._remember(batch, self._final(batch, {}))
            )
        run = _Live(self, changes, replaced.to(torch.float32))
        final = self._final(batch, run.hooks())
        return self._unembedded(final, self._last(batch))

    @torch.no_grad()
    def one_by_one(
        self,
        batch: Batch,
        changes: Changes,
        edges: Int[np.ndarray, "edge 2"],
        metric: Metric,
        rows: Int[Tensor, " row"],
    ) -> Float[Tensor, "edge row"]:
        """Layers before an edge's port are computed once, those after it for many edges at once."""
        rest = Rest(self, batch, self.changes_of(batch, changes))
        return rest.with_edges(edges, metric, rows)

    @torch.no_grad()
    def nodes_one_by_one(
        self,
        batch: Batch,
        changes: Changes,
        sources: Sequence[int],
        metric: Metric,
        rows: Int[Tensor, " row"],
    ) -> Float[Tensor, "source row"]:
        """Layers before a source are computed once, those after it for a layer's heads at once."""
        rest = Rest(self, batch, self.changes_of(batch, changes))
        return rest.with_nodes(np.asarray(sources), metric, rows)

    def linear_effects(
        self,
        batch: Batch,
        changes: Changes,
        metric: Metric,
        rows: Int[Tensor, " row"],
        moment: Moment = CLEAN,
    ) -> Float[Tensor, "row source port"]:
        """`Σ over positions of change_source · ∂metric/∂port`."""
        return linear_effects(self, batch, changes, metric, rows, moment)

    def softmax_effects(
        self, batch: Batch, changes: Changes, metric: Metric, rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "row source port"]:
        """Effects of edges into queries and keys: attention recomputed exactly, linear after it;
        zero at other ports.
        """
        return softmax_effects(self, batch, changes, metric, rows)

    @torch.no_grad()
    def changes_of(self, batch: Batch, changes: Changes) -> Float[Tensor, "row source position d"]:
        """Every source's change in a clean run; the last result is cached, as several methods need
        it.
        """
        if (
            self._cached is not None
            and self._cached[0] is batch
            and self._cached[1] is changes
            and not self._changed
        ):
            return self._cached[2]
        kept = _Kept(len(self.sources))
        hooks = self._watching(
            lambda source, value: kept.put(source, changes.change(source, value))
        )
        self._remember(batch, self._final(batch, hooks))
        if not self._changed:
            self._cached = (batch, changes, kept.stacked)
        return kept.stacked

    # Shared with the neighbouring files.

    def frame(self, batch: Batch) -> Frame:
        """The batch and its token positions, for hooks."""
        mask = batch.inputs.get("attention_mask")
        return Frame(batch=batch, positions=None if mask is None else positions_of(mask))

    @contextmanager
    def hooked(
        self, batch: Batch, hooks: Mapping[Point, Hook], stops: tuple[Point, ...] = ()
    ) -> Iterator[None]:
        """Hooks at points; the run ends after `stops`."""
        names = {
            point: str(number) for number, point in enumerate({**hooks, **dict.fromkeys(stops)})
        }
        points = {name: point for point, name in names.items()}
        named = {names[point]: hook for point, hook in hooks.items()}
        with placed(points, named, self.frame(batch), [names[stop] for stop in stops]):
            yield

    def _final(self, batch: Batch, hooks: Mapping[Point, Hook]) -> Float[Tensor, "row position d"]:
        """Run as far as the final norm: logits are needed at one token only."""
        caught: list[Tensor] = []
        point = Point(self.parts.final_norm, "output")
        with (
            self.hooked(
                batch, {**hooks, point: lambda value, call: caught.append(value)}, (point,)
            ),
            ended_early(),
        ):
            self.model.run(batch)
        return caught[0]

    def _last(self, batch: Batch) -> Int[Tensor, " row"]:
        mask = batch.inputs.get("attention_mask")
        if mask is None:
            width = next(iter(batch.inputs.values())).shape[1]
            return torch.full((len(batch.items),), width - 1)
        return last_positions(mask)

    def _unembedded(
        self, final: Float[Tensor, "row position d"], last: Int[Tensor, " row"]
    ) -> Float[Tensor, "row vocabulary"]:
        return self._logits(_at(final, last))

    def _remember(
        self, batch: Batch, final: Float[Tensor, "row position d"]
    ) -> Float[Tensor, "row d"]:
        end = _at(final, self._last(batch))
        if not self._changed:
            # Two are enough: the current batch and its counterfactuals.
            self._ends = [*self._ends[-1:], (batch, end)]
        return end

    @property
    def _changed(self) -> bool:
        """Whether other hooks are in place, so that a run is not clean."""
        return bool(getattr(self.model, "busy", False))

    def _logits(self, end: Float[Tensor, "row d"]) -> Float[Tensor, "row vocabulary"]:
        logits: Tensor = self.parts.unembed(end)
        cap = self.parts.softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def _watching(self, see: Callable[[int, Tensor], Any]) -> dict[Point, Hook]:
        """Hooks that pass every source's contribution to `see` as soon as it is computed."""
        return {writer.point: _shown(writer, see) for writer in self.writers}

    def check(self, batch: Batch) -> None:
        """Compare the parts' logits with the network's own.

        Raises:
            InputError: they differ.
        """
        with torch.no_grad():
            whole = _at(self.model.run(batch), self._last(batch))
            found = self.output(batch)
        if not torch.allclose(found, whole, atol=TOLERANCE * float(whole.abs().max()), rtol=0):
            worst = float((found - whole).abs().max())
            raise InputError(
                f"{self.model.name} does more to its logits than its parts say (differences up to "
                f"{worst:.3g}); its edges cannot be patched"
            )


def _parts_of(model: Model) -> ResidualParts:
    if not isinstance(model, TransformerModel):
        raise InputError(
            f"{model.name} is no language model of transformers; give its parts: "
            "ResidualWiring(model, parts), or use ChannelWiring for a classifier of convolutions"
        )
    return residual_parts(model.module, model.anatomy)


def _at(
    values: Float[Tensor, "row position d"], places: Int[Tensor, " row"]
) -> Float[Tensor, "row d"]:
    return values[torch.arange(len(places), device=values.device), places.to(values.device)]


def _shown(writer: Writer, see: Callable[[int, Tensor], Any]) -> Hook:
    def hook(value: Tensor, call: Call) -> None:
        if writer.matrix is None:
            see(writer.first, value)
            return
        heads = rearrange(value, "... (head c) -> head ... c", head=len(writer.matrix))
        for source, head, rows in zip(writer.sources, heads, writer.matrix, strict=True):
            see(source, head @ rows)

    return hook


@dataclass
class _Kept:
    """Tensors of one shape, stacked as they come: allocated once, at the first."""

    count: int
    filled: list[Tensor] = field(default_factory=list)

    def put(self, number: int, value: Tensor) -> None:
        if not self.filled:
            self.filled.append(value.new_empty(len(value), self.count, *value.shape[1:]))
        self.filled[0][:, number] = value

    @property
    def stacked(self) -> Tensor:
        return self.filled[0]


class _Live:
    """A run in which every port reads the stream plus its sources' changes, each computed from the
    source's value in this run.
    """

    def __init__(
        self,
        wiring: ResidualWiring,
        changes: Changes,
        mask: Float[Tensor, "source port"],
        see: Callable[[int, Tensor], Any] | None = None,
    ) -> None:
        self._wiring, self._changes, self._mask, self._see = wiring, changes, mask, see
        self._kept = _Kept(len(wiring.sources))

    def hooks(self) -> dict[Point, Hook]:
        hooks = self._wiring._watching(self._written)
        for stage in self._wiring.stages:
            ports = slice(stage.first_port, stage.first_port + stage.n_ports)
            mask = self._mask[: stage.n_sources, ports]
            if bool(mask.any()):
                hooks |= stage_hooks(stage, partial(self._read, mask))
        return hooks

    def _written(self, source: int, value: Tensor) -> None:
        self._kept.put(source, self._changes.change(source, value))
        if self._see is not None:
            self._see(source, value)

    def _read(
        self, mask: Float[Tensor, "source port"], stream: Float[Tensor, "row position d"]
    ) -> Float[Tensor, "row port position d"]:
        present = self._kept.stacked[:, : len(mask)]
        # One matrix product for all ports: each has its own mask over the same changes.
        added = mask.T.to(stream) @ rearrange(present, "row source ... -> row source (...)")
        return stream[:, None] + rearrange(
            added, "row port (position d) -> row port position d", d=stream.shape[-1]
        )


def stage_hooks(stage: Stage, read: Callable[[Tensor], Tensor]) -> dict[Point, Hook]:
    """Hooks that give every port of a stage its own stream,
    `read(stream) [row, port, position, d]`.
    """
    if stage.attention is None:
        return {Point(stage.norm, "input"): lambda value, call: read(value)[:, 0]}
    kept: dict[str, Tensor] = {}

    def look(value: Tensor, call: Call) -> None:
        kept["read"] = stage.normed(read(value))

    hooks: dict[Point, Hook] = {Point(stage.norm, "input"): look}
    for module, places in stage.projections:
        hooks[Point(module, "output")] = _projected(module, places, kept)
    return hooks


def _projected(
    module: nn.Module, places: tuple[tuple[int, Tensor], ...], kept: dict[str, Tensor]
) -> Hook:
    """Recompute every head's columns from the stream that its port reads."""

    # One projection serves all heads but each port has its own stream, so the map is applied here,
    # head by head, in place of the module's own output.
    def hook(value: Tensor, call: Call) -> Tensor:
        ports = [port for port, _ in places]
        columns = torch.stack([own for _, own in places])
        new = torch.einsum(
            "rpld,dpc->rlpc", kept["read"][:, ports], projection_rows(module)[:, columns]
        )
        bias = getattr(module, "bias", None)
        new = new if bias is None else new + bias[columns]
        return value.index_copy(
            -1, columns.flatten().to(value.device), new.flatten(2).to(value.dtype)
        )

    return hook
