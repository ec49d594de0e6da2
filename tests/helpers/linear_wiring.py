"""Networks whose edges' effects are known in closed form: every edge a matrix, every effect a
product of matrices.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from interp.causal.wiring.examples import Examples
from interp.causal.wiring.replacement import Changes
from interp.causal.wiring.wiring import CLEAN, Metric, Moment, Node, Port, Wiring
from interp.models import Batch
from interp.models.adapters.module import ModuleModel

WIDTH = 3


class LinearWiring(Wiring):
    """Layers of parts, each the sum of `matrices[source, port]` times all parts of earlier layers.

    `sizes` says how many parts each layer between input and output has. Source 0 is `input`, then
    `n1.0`, `n1.1`, …; ports are `n1.0.in`, …, `out`, all vectors of `WIDTH` numbers. With `bent`,
    parts are `tanh(2 · sum)` and effects are no products. The output is what `out` reads,
    `[row, WIDTH]`.
    """

    def __init__(self, sizes: Sequence[int] = (3, 3), *, seed: int = 0, bent: bool = False) -> None:
        self.model = ModuleModel(nn.Identity())
        self.bent = bent
        layers = [
            0,
            *(layer for layer, size in enumerate(sizes, 1) for _ in range(size)),
            len(sizes) + 1,
        ]
        names = [
            "input",
            *(f"n{layer}.{place}" for layer, size in enumerate(sizes, 1) for place in range(size)),
        ]
        self.sources = tuple(Node(name, layer) for name, layer in zip(names, layers, strict=False))
        self.ports = (
            *(Port(f"{node.name}.in", (node.name,), node.layer) for node in self.sources[1:]),
            Port("out", ("out",), layers[-1]),
        )
        self._connected = torch.tensor(
            [[node.layer < port.layer for port in self.ports] for node in self.sources]
        )
        generator = torch.Generator().manual_seed(seed)
        self.matrices = (
            torch.randn(len(self.sources), len(self.ports), WIDTH, WIDTH, generator=generator) * 0.5
        )
        self.matrices[~self._connected] = 0.0

    @property
    def connected(self) -> Bool[Tensor, "source port"]:
        """Earlier layers to later ones."""
        return self._connected

    @property
    def droppable(self) -> tuple[int, ...]:
        """The layers between input and output."""
        return tuple(sorted({node.layer for node in self.sources[1:]}))

    def output(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> Float[Tensor, "row width"]:
        """What `out` reads."""
        return self._run(batch.inputs["input"], changes, replaced)[1][-1]

    def one_by_one(
        self,
        batch: Batch,
        changes: Changes,
        edges: Int[np.ndarray, "edge 2"],
        metric: Metric,
        rows: Int[Tensor, " row"],
    ) -> Float[Tensor, "edge row"]:
        """One run for every edge."""
        found = [metric(self.output(batch, changes, self.mask(edge[None])), rows) for edge in edges]
        return torch.stack(found) if found else torch.empty(0, len(rows))

    def linear_effects(
        self,
        batch: Batch,
        changes: Changes,
        metric: Metric,
        rows: Int[Tensor, " row"],
        moment: Moment = CLEAN,
    ) -> Float[Tensor, "row source port"]:
        """The gradient at what every port reads, times every source's change in the clean run."""
        clean = self.observe(batch)
        change = [changes.change(source, value) for source, value in enumerate(clean)]
        held = {source: clean[source] + moment.share * change[source] for source in moment.moved}
        leaves = [torch.zeros(len(rows), WIDTH, requires_grad=True) for _ in self.ports]
        _, reads = self._run(batch.inputs["input"], None, None, held, leaves, moment.skipped)
        gradients = torch.autograd.grad(metric(reads[-1], rows).sum(), leaves, allow_unused=True)
        effects = torch.zeros(len(rows), len(self.sources), len(self.ports))
        for source, port in self.edges:
            gradient = gradients[port]
            if gradient is not None:
                effects[:, source, port] = (
                    change[source] @ self.matrices[source, port].T * gradient
                ).sum(-1)
        return effects.detach()

    def observe(self, batch: Batch) -> tuple[Tensor, ...]:
        """Every part's value."""
        return tuple(value.detach() for value in self._run(batch.inputs["input"])[0])

    def _run(
        self,
        inputs: Float[Tensor, "row width"],
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
        held: dict[int, Tensor] | None = None,
        leaves: list[Tensor] | None = None,
        skipped: frozenset[int] = frozenset(),
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Every source's value and what every port reads."""
        held = held or {}
        values, reads = [held.get(0, inputs)], []
        for number, port in enumerate(self.ports):
            read = torch.zeros(len(inputs), WIDTH) if leaves is None else leaves[number]
            for source in torch.nonzero(self.connected[:, number])[:, 0].tolist():
                value = values[source]
                if changes is not None and replaced is not None and replaced[source, number]:
                    value = value + changes.change(source, value)
                read = read + value @ self.matrices[source, number].T
            reads.append(read)
            if number < len(self.ports) - 1:
                value = held.get(number + 1, torch.tanh(2 * read) if self.bent else read)
                values.append(value.detach() if port.layer in skipped else value)
        return values, reads

    @cached_property
    def transfers(self) -> Float[Tensor, "port width width"]:
        """The product of weights from what each port reads to the output, summed over paths."""
        found = torch.zeros(len(self.ports), WIDTH, WIDTH)
        found[-1] = torch.eye(WIDTH)
        for port in reversed(range(len(self.ports) - 1)):
            found[port] = sum(
                found[later] @ self.matrices[port + 1, later]
                for later in range(port + 1, len(self.ports))
            )
        return found

    @cached_property
    def reaches(self) -> Float[Tensor, "source width width"]:
        """The product of weights from the input to each source, summed over paths."""
        found = torch.zeros(len(self.sources), WIDTH, WIDTH)
        found[0] = torch.eye(WIDTH)
        for source in range(1, len(self.sources)):
            found[source] = sum(
                self.matrices[earlier, source - 1] @ found[earlier] for earlier in range(source)
            )
        return found

    def true_effects(
        self,
        inputs: Float[Tensor, "row width"],
        others: Float[Tensor, "#row width"] | None,
        readout: Float[Tensor, " width"],
    ) -> Float[Tensor, "row edge"]:
        """The effect of every edge on `output · readout`, from weights alone:
        `readout · transfer · matrix · reach · (other − input)`.

        `others` are the counterfactuals (resample), their mean `[1, WIDTH]` (mean), or None (zero).
        Only without `bent`.
        """
        moved = -inputs if others is None else others - inputs
        found = [
            moved
            @ self.reaches[source].T
            @ self.matrices[source, port].T
            @ self.transfers[port].T
            @ readout
            for source, port in self.edges
        ]
        return torch.stack(found, dim=1)

    def true_edges(self) -> Bool[np.ndarray, " edge"]:
        """Which edges lie on a way of nonzero matrices from the input to the output."""
        used = self.matrices.abs().sum(dim=(2, 3)) > 0
        forward, backward = {0}, {len(self.ports) - 1}
        for port in range(len(self.ports) - 1):
            if any(used[source, port] for source in forward):
                forward.add(port + 1)
        for port in reversed(range(len(self.ports) - 1)):
            if any(used[port + 1, later] for later in backward):
                backward.add(port)
        return np.array(
            [
                bool(used[source, port]) and source in forward and port in backward
                for source, port in self.edges
            ]
        )


def planted(
    share: float = 0.3, sizes: Sequence[int] = (3, 3), *, seed: int = 0, bent: bool = False
) -> LinearWiring:
    """A network with a sparse true graph: one way from the input through the first part of every
    layer, and a share of the other edges.

    Parts that the true graph leaves out compute something too, but nothing reads it, or nothing
    feeds them.
    """
    wiring = LinearWiring(sizes, seed=seed, bent=bent)
    generator = np.random.default_rng(seed)
    names = ["input", *(f"n{layer}.0" for layer in range(1, len(sizes) + 1))]
    spine = {
        (name, after)
        for name, after in zip(names, [*(f"{name}.in" for name in names[1:]), "out"], strict=True)
    }
    for source, port in wiring.edges:
        if (
            wiring.sources[source].name,
            wiring.ports[port].name,
        ) not in spine and generator.random() > share:
            wiring.matrices[source, port] = 0.0
    return wiring


def linear_inputs(
    rows: int = 8, *, seed: int = 1
) -> tuple[Float[Tensor, "row width"], Float[Tensor, "row width"]]:
    """Inputs and counterfactuals."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, WIDTH, generator=generator), torch.randn(
        rows, WIDTH, generator=generator
    )


def linear_examples(
    wiring: LinearWiring, rows: int = 8, *, seed: int = 1, batch_size: int | None = None
) -> Examples:
    """Resampled examples of `linear_inputs`."""
    inputs, others = linear_inputs(rows, seed=seed)
    return Examples(wiring, inputs, others, value="resample", batch_size=batch_size)


READOUT = torch.tensor([1.0, -0.5, 0.25])


def readout(
    output: Float[Tensor, "case width"], rows: Int[Tensor, " case"]
) -> Float[Tensor, " case"]:
    """A linear metric: `output · READOUT`."""
    return output @ READOUT
