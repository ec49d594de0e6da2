"""Effects of all edges of a transformer from one backward pass: linear, or with the softmax
exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causal.wiring.replacement import Changes
from interp.causal.wiring.stages import CELL_TOKENS, Stage
from interp.causal.wiring.wiring import CLEAN, Metric, Moment
from interp.models import Batch
from interp.models.hooks import Point, ended_early, evaluating, projection_rows
from interp.models.protocol import Call, Hook
from interp.models.suffix import LayerCall, Repeats, layer_calls, repeated

if TYPE_CHECKING:
    from interp.causal.wiring.residual import ResidualWiring


@dataclass
class _Caught:
    """A run's tensors whose gradients are needed, and the streams that attention layers read."""

    tensors: dict[Point, Tensor] = field(default_factory=dict)
    streams: dict[int, Tensor] = field(default_factory=dict)

    def apart(self, point: Point) -> Hook:
        """A hook that substitutes a view, so that this branch has a gradient of its own."""

        def hook(value: Tensor, call: Call) -> Tensor:
            self.tensors[point] = value.view_as(value)
            return self.tensors[point]

        return hook

    def stream(self, port: int) -> Hook:
        def hook(value: Tensor, call: Call) -> None:
            self.streams[port] = value.detach()

        return hook


def linear_effects(
    wiring: "ResidualWiring",
    batch: Batch,
    changes: Changes,
    metric: Metric,
    rows: Int[Tensor, " row"],
    moment: Moment = CLEAN,
) -> Float[Tensor, "row source port"]:
    """`Σ change_source · ∂metric/∂port` (see `Wiring.linear_effects`)."""
    change = wiring.changes_of(batch, changes)
    caught, gradients = _backward(wiring, batch, metric, rows, _moved(wiring, change, moment))
    effects = torch.zeros(len(rows), len(wiring.sources), len(wiring.ports))
    for stage in wiring.stages:
        gradient = _port_gradients(stage, caught, gradients)
        if gradient is not None:
            earlier = rearrange(change[:, : stage.n_sources], "row source ... -> row source (...)")
            by_port = rearrange(gradient, "row port position d -> row (position d) port")
            effects[:, : stage.n_sources, stage.first_port : stage.first_port + stage.n_ports] = (
                earlier.float() @ by_port.float()
            ).cpu()
    return effects


def softmax_effects(
    wiring: "ResidualWiring",
    batch: Batch,
    changes: Changes,
    metric: Metric,
    rows: Int[Tensor, " row"],
) -> Float[Tensor, "row source port"]:
    """Edges into queries and keys: every source's change goes exactly through norm, projection and
    softmax, linearly from there on.

    The effect is `Δz · ∂metric/∂z`: the change of a head's pattern times the metric's gradient with
    respect to the pattern (Kramár et al. 2024, the QK fix).

    Cost: besides a backward pass, two attention layers per layer and source.
    """
    change = wiring.changes_of(batch, changes)
    extra = [
        Point(stage.attention.out, "input")
        for stage in wiring.stages
        if stage.attention is not None
    ]
    layers = [part.module for part in wiring.parts.attention if part is not None]
    with layer_calls(layers) as calls:
        caught, gradients = _backward(wiring, batch, metric, rows, extra=extra)
    seen = {layer.module: (layer, hidden.detach()) for layer, hidden in calls}
    effects = torch.zeros(len(rows), len(wiring.sources), len(wiring.ports))
    with torch.no_grad():
        for stage in wiring.stages:
            if stage.attention is None:
                continue
            z = Point(stage.attention.out, "input")
            inner = _Softmax(
                wiring=wiring,
                batch=batch,
                stage=stage,
                call=seen[stage.attention.module],
                z=caught.tensors[z].detach(),
                gradient=gradients.get(z),
            )
            inner.fill(effects, change, caught.streams[stage.first_port])
    return effects


def _backward(
    wiring: "ResidualWiring",
    batch: Batch,
    metric: Metric,
    rows: Int[Tensor, " row"],
    changed: Mapping[Point, Hook] = {},
    extra: Sequence[Point] = (),
) -> tuple[_Caught, dict[Point, Tensor]]:
    """One run and the gradients of the summed metric at every port's map."""
    caught = _Caught()
    start = Point(wiring.parts.blocks[0], "input")
    first = changed.get(start)

    # The graph starts at the first block: nothing before it needs a gradient, nor do weights.
    def leaf(value: Tensor, call: Call) -> Tensor:
        moved = None if first is None else first(value, call)
        return (value if moved is None else moved).detach().requires_grad_()

    hooks: dict[Point, Hook] = {**changed, start: leaf}
    for stage in wiring.stages:
        read = Point(stage.norm, "input")
        hooks[read] = (
            caught.apart(read) if stage.attention is None else caught.stream(stage.first_port)
        )
        hooks |= {
            point: caught.apart(point)
            for point in (Point(module, "output") for module, _ in stage.projections)
        }
    hooks |= {point: caught.apart(point) for point in extra}
    with torch.enable_grad():
        output = wiring._unembedded(wiring._final(batch, hooks), wiring._last(batch))
        total = metric(output, rows).sum()
        points = list(caught.tensors)
        found = torch.autograd.grad(
            total, [caught.tensors[point] for point in points], allow_unused=True
        )
    return caught, {
        point: gradient
        for point, gradient in zip(points, found, strict=True)
        if gradient is not None
    }


def _port_gradients(
    stage: Stage, caught: _Caught, gradients: dict[Point, Tensor]
) -> Float[Tensor, "row port position d"] | None:
    """The metric's gradient with respect to each port's input; None where nothing depends on it."""
    if stage.attention is None:
        found = gradients.get(Point(stage.norm, "input"))
        return None if found is None else found[:, None]
    stream = caught.streams[stage.first_port]
    normed = stream.new_zeros(len(stream), stage.n_ports, *stream.shape[1:])
    for module, places in stage.projections:
        gradient = gradients.get(Point(module, "output"))
        if gradient is None:
            continue
        weight = projection_rows(module)
        columns = torch.stack([own for _, own in places])
        ports = [port for port, _ in places]
        normed[:, ports] = torch.einsum(
            "rlpc,dpc->rpld", gradient[..., columns], weight[:, columns]
        ).detach()
    # Back through the norm, with a copy of the stream per port so that their gradients stay apart.
    with torch.enable_grad():
        read = stream[:, None].expand_as(normed).clone().requires_grad_()
        return torch.autograd.grad(stage.normed(read), read, normed)[0]


def _moved(
    wiring: "ResidualWiring", change: Float[Tensor, "row source position d"], moment: Moment
) -> dict[Point, Hook]:
    """Hooks that move sources, and that stop gradients at skipped layers."""
    hooks: dict[Point, Hook] = {}
    for writer in wiring.writers:
        chosen = [source for source in moment.moved if source in writer.sources]
        skipped = writer.block in moment.skipped and 0 not in writer.sources
        if chosen or skipped:
            hooks[writer.changed_at] = _put(
                moment.share * change[:, chosen].sum(dim=1) if chosen else None, skipped
            )
    return hooks


def _put(added: Tensor | None, skipped: bool) -> Hook:
    def hook(value: Tensor, call: Call) -> Tensor:
        new = value if added is None else value + added.to(value.dtype)
        return new.detach() if skipped else new

    return hook


@dataclass(kw_only=True)
class _Softmax:
    """One attention layer, rerun with every head's queries (or keys) after a source's change."""

    wiring: "ResidualWiring"
    batch: Batch
    stage: Stage
    call: tuple[LayerCall, Tensor]
    z: Float[Tensor, "row position c"]
    gradient: Float[Tensor, "row position c"] | None

    def fill(
        self,
        effects: Float[Tensor, "row source port"],
        change: Float[Tensor, "row source position d"],
        stream: Float[Tensor, "row position d"],
    ) -> None:
        """Write the effects of all earlier sources through this layer's queries and keys."""
        if self.gradient is None:
            return
        size = max(1, CELL_TOKENS // stream[..., 0].numel())
        for start in range(0, self.stage.n_sources, size):
            sources = slice(start, min(start + size, self.stage.n_sources))
            moved = stream + rearrange(change[:, sources], "row source ... -> source row ...")
            read = rearrange(self.stage.normed(moved), "source row ... -> (source row) ...")
            for kind in ("query", "key"):
                ports, found = self._effect(kind, read)
                effects[:, sources, ports] = found.cpu()

    def _effect(
        self, kind: str, read: Float[Tensor, "copy position d"]
    ) -> tuple[slice, Float[Tensor, "row source port"]]:
        assert self.stage.attention is not None
        assert self.gradient is not None
        attention = self.stage.attention
        projection = attention.query if kind == "query" else attention.key
        first = self.stage.first_port + (0 if kind == "query" else len(attention.query.columns))
        times = len(read) // len(self.z)
        moved = self._mixed(projection.module, torch.cat(projection.columns), read, times)
        z = rearrange(moved, "(source row) ... -> source row ...", source=times)
        by_column = ((z - self.z) * self.gradient).sum(dim=2)
        # A shared key serves several consecutive query heads.
        served = rearrange(
            by_column, "source row (port c) -> row source port c", port=len(projection.columns)
        )
        return slice(first, first + len(projection.columns)), served.sum(dim=-1)

    def _mixed(
        self, module: nn.Module, columns: Tensor, read: Tensor, times: int
    ) -> Float[Tensor, "copy position c"]:
        """The output projection's input when some columns of a map read another stream."""
        assert self.stage.attention is not None
        weight, bias = projection_rows(module), getattr(module, "bias", None)
        own = read @ weight[:, columns] + (0 if bias is None else bias[columns])
        caught: list[Tensor] = []
        out = Point(self.stage.attention.out, "input")
        hooks: dict[Point, Hook] = {
            Point(module, "output"): lambda value, call: value.index_copy(
                -1, columns, own.to(value.dtype)
            ),
            out: lambda value, call: caught.append(value),
        }
        layer, hidden = self.call
        again = Repeats(len(self.z), times)
        whole: nn.Module = self.wiring.model.module  # type: ignore[attr-defined]
        with (
            evaluating(whole),
            self.wiring.hooked(repeated(self.batch, times), hooks, (out,)),
            ended_early(),
        ):
            layer(again(hidden), again(layer.others), again(layer.named))
        return caught[0]
