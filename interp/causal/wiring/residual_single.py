"""Exact effects of a transformer's single edges: the part before a port runs once, the part after
it for many edges at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causal.wiring.stages import CELL_TOKENS, Stage
from interp.causal.wiring.wiring import Metric, read_copies
from interp.models import Batch
from interp.models.hooks import Point, evaluating, projection_rows
from interp.models.protocol import Call, Hook
from interp.models.suffix import LayerCall, Repeats, layer_calls, repeated

if TYPE_CHECKING:
    from interp.causal.wiring.residual import ResidualWiring

AGREEMENT = 1e-4


@dataclass
class _Seen:
    """A clean run: the call of every block, and the stream at every stage."""

    layers: list[tuple[LayerCall, Tensor]]
    streams: dict[int, Tensor]


class Rest:
    """Runs a network from some block on; where calling the blocks one by one does not reproduce its
    output, the whole network runs.
    """

    def __init__(
        self, wiring: "ResidualWiring", batch: Batch, change: Float[Tensor, "row source position d"]
    ) -> None:
        self._wiring, self._batch, self._change = wiring, batch, change
        self._last = wiring._last(batch)
        self._seen = self._look()
        clean = wiring._unembedded(self._final, self._last)
        self._spared = len(self._seen.layers) == len(wiring.parts.blocks) and self._agrees(clean)

    def with_edges(
        self, edges: Int[np.ndarray, "edge 2"], metric: Metric, rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "edge row"]:
        """The metric with each edge replaced alone."""
        result = torch.empty(len(edges), len(rows))
        for stage in self._wiring.stages:
            ports = edges[:, 1] - stage.first_port
            for chunk in self._chunks(np.flatnonzero((ports >= 0) & (ports < stage.n_ports))):
                output = self._edges(stage, edges[chunk, 0], ports[chunk])
                result[chunk] = read_copies(metric, output, rows)
        return result

    def with_nodes(
        self, sources: Int[np.ndarray, " source"], metric: Metric, rows: Int[Tensor, " row"]
    ) -> Float[Tensor, "source row"]:
        """The metric with each source changed alone."""
        result = torch.empty(len(sources), len(rows))
        for writer in self._wiring.writers:
            for chunk in self._chunks(np.flatnonzero(np.isin(sources, writer.sources))):
                output = self._written(writer.changed_at, writer.block, sources[chunk])
                result[chunk] = read_copies(metric, output, rows)
        return result

    def _chunks(self, chosen: Int[np.ndarray, " edge"]) -> Iterator[Int[np.ndarray, " edge"]]:
        """Chunks that fit one forward call."""
        size = max(1, CELL_TOKENS // (self._change.shape[0] * self._change.shape[2]))
        for start in range(0, len(chosen), size):
            yield chosen[start : start + size]

    def _edges(
        self, stage: Stage, sources: Int[np.ndarray, " cell"], ports: Int[np.ndarray, " cell"]
    ) -> Float[Tensor, "cell_row out"]:
        """Logits, copy after copy, each with one edge into the stage replaced."""
        times = len(sources)
        if stage.block == len(self._wiring.parts.blocks):
            return self._logits_edges(sources)
        added = rearrange(self._change[:, sources], "row cell ... -> cell row ...")
        stream = self._seen.streams[stage.first_port]
        if stage.attention is None:
            hooks: dict[Point, Hook] = {
                Point(stage.norm, "input"): lambda value, call: value + added.flatten(0, 1)
            }
        else:
            # The other heads read the unchanged stream, so the norm must not see the change: its
            # image under the norm is added after the projection, to one head's columns.
            moved = stage.normed(stream + added) - stage.normed(stream)
            hooks = {
                Point(module, "output"): hook
                for module, places in stage.projections
                if (hook := _some_columns(module, dict(places), moved, ports)) is not None
            }
        return self._run(hooks, stage.block, times)

    def _written(
        self, point: Point, block: int, sources: Int[np.ndarray, " cell"]
    ) -> Float[Tensor, "cell_row out"]:
        """Logits, copy after copy, each with one source changed where its part writes to the
        stream.
        """
        added = rearrange(self._change[:, sources], "row cell ... -> (cell row) ...")
        return self._run(
            {point: lambda value, call: value + added.to(value.dtype)}, block, len(sources)
        )

    def _run(
        self, hooks: dict[Point, Hook], block: int, times: int
    ) -> Float[Tensor, "cell_row out"]:
        with self._wiring.hooked(repeated(self._batch, times), hooks):
            if self._spared:
                return self._from(block, times)
            caught = self._wiring._final(repeated(self._batch, times), {})
        return self._wiring._unembedded(caught, self._last.repeat(times))

    def _logits_edges(self, sources: Int[np.ndarray, " cell"]) -> Tensor:
        # The last port needs no run: only the final norm and the unembedding follow it.
        parts, here = self._wiring.parts, torch.arange(len(self._last))
        stream = self._seen.streams[self._wiring.stages[-1].first_port][here, self._last]
        added = rearrange(self._change[here, :, self._last][:, sources], "row cell d -> cell row d")
        final = parts.final_norm(rearrange(stream + added, "cell row d -> (cell row) d"))
        return self._wiring._unembedded(final[:, None], torch.zeros(len(final), dtype=torch.long))

    def _from(self, block: int, times: int) -> Tensor:
        parts, again = self._wiring.parts, Repeats(len(self._batch.items), times)
        hidden = again(self._seen.layers[block][1])
        with evaluating(self._module):
            for layer, _ in self._seen.layers[block:]:
                hidden = layer(hidden, again(layer.others), again(layer.named))
            last = self._last.repeat(times)
            chosen = parts.final_norm(hidden[torch.arange(len(last)), last])
        return self._wiring._unembedded(chosen[:, None], torch.zeros_like(last))

    def _agrees(self, clean: Tensor) -> bool:
        # Blocks that depend on more than their own call can fail in any of these ways.
        try:
            found = self._from(0, 1)
        except (TypeError, RuntimeError, AttributeError, ValueError, IndexError, KeyError):
            return False
        return found.shape == clean.shape and torch.allclose(
            found, clean, rtol=0, atol=AGREEMENT * float(clean.abs().max())
        )

    @property
    def _module(self) -> nn.Module:
        module: nn.Module = self._wiring.model.module  # type: ignore[attr-defined]
        return module

    def _look(self) -> _Seen:
        streams: dict[int, Tensor] = {}
        hooks: dict[Point, Hook] = {
            Point(stage.norm, "input"): _kept(streams, stage.first_port)
            for stage in self._wiring.stages
        }
        with layer_calls(self._wiring.parts.blocks) as calls:
            self._final = self._wiring._final(self._batch, hooks)
        return _Seen(calls, streams)


def _kept(streams: dict[int, Tensor], port: int) -> Hook:
    def hook(value: Tensor, call: Call) -> None:
        streams[port] = value

    return hook


def _some_columns(
    module: nn.Module,
    places: dict[int, Tensor],
    moved: Float[Tensor, "cell row position d"],
    ports: Int[np.ndarray, " cell"],
) -> Hook | None:
    """Add to each copy's own head the projection of its change of the normed stream; None where no
    copy's port is here.
    """
    cells = torch.tensor(
        [cell for cell, port in enumerate(ports) if port in places], dtype=torch.long
    )
    if not len(cells):
        return None
    columns = torch.stack([places[int(ports[cell])] for cell in cells])
    weight = projection_rows(module)[:, columns]
    added = torch.einsum("crpd,dck->ckrp", moved[cells], weight)

    def hook(value: Tensor, call: Call) -> Tensor:
        new = rearrange(value, "(cell row) ... -> cell row ...", cell=len(ports)).clone()
        new[cells[:, None], :, :, columns] += added.to(value.dtype)
        return rearrange(new, "cell row ... -> (cell row) ...")

    return hook
