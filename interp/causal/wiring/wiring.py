"""Wiring: a network as parts whose outputs are summed in the inputs of later parts, which every
method here works on.

A *source* is a part's output (an attention head, an MLP, a channel), a *port* is one input of a
later part (a head's query, a channel's preactivation, the logits), an *edge* is a source's
contribution to a port. Replacing the contribution of one edge and nothing else is direct path
patching; a language model, a classifier and a UNet differ only in how they do it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.causal.wiring.replacement import Changes
from interp.core import InputError
from interp.core.names import require_known
from interp.models.protocol import Batch, Model

Metric = Callable[[Float[Tensor, "case *out"], Int[Tensor, " case"]], Float[Tensor, " case"]]
"""A number for every case from the network's output; the second argument says which example each
case is of.

The output of a language model is its logits `[case, vocabulary]` at each example's last token, of a
classifier its logits `[case, class]`, of a UNet its image.
"""


@dataclass(frozen=True)
class Node:
    """A part of a network: its name and its column in the picture, inputs on the left."""

    name: str
    layer: int


@dataclass(frozen=True)
class Port:
    """One input of a part: `L3.head2.q` of the node `L3.head2`. A key of a grouped-query model
    belongs to several heads.
    """

    name: str
    nodes: tuple[str, ...]
    layer: int


@dataclass(frozen=True)
class Edge:
    """One contribution: what the node `source` adds to the input `port`.

    Example:
        >>> str(Edge("L0.head1", "L1.head3.k"))
        'L0.head1 → L1.head3.k'
    """

    source: str
    port: str

    def __str__(self) -> str:
        return f"{self.source} → {self.port}"


@dataclass(frozen=True)
class Moment:
    """The run at which gradients are taken; by default the clean run.

    The outputs of the sources in `moved` (by number) are moved to `value + share · change`, and
    gradients do not pass through the layers in `skipped` (GradDrop; Kramár et al. 2024).
    """

    moved: tuple[int, ...] = ()
    share: float = 0.0
    skipped: frozenset[int] = frozenset()


CLEAN = Moment()


def read_copies(
    metric: Metric, output: Float[Tensor, "cell *out"], rows: Int[Tensor, " row"]
) -> Float[Tensor, "copy row"]:
    """A metric of a batch repeated copy after copy."""
    found = metric(output, rows.repeat(len(output) // len(rows)))
    return rearrange(found.float().cpu(), "(copy row) -> copy row", row=len(rows))


class Wiring(ABC):
    """A network's sources, ports and edges, and how to run it with some edges' contributions
    replaced.

    Sources and ports are in order of computation; source 0 is the input.
    Batches are the model's own (`wiring.model.prepare`).
    """

    model: Model
    sources: tuple[Node, ...]
    ports: tuple[Port, ...]
    feature_axis: int = -1
    """The axis of a source's output along which directions lie: the last for tokens; 1 for
    images.
    """

    @property
    @abstractmethod
    def connected(self) -> Bool[Tensor, "source port"]:
        """Which source contributes to which port."""

    @abstractmethod
    def output(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> Float[Tensor, "row *out"]:
        """The network's output with every edge in `replaced` changed, live: a source's change is
        from its value after upstream replacements. Without changes, the clean output.

        Cost: one forward pass and the contributions' sums.
        """

    @abstractmethod
    def one_by_one(
        self,
        batch: Batch,
        changes: Changes,
        edges: Int[np.ndarray, "edge 2"],
        metric: Metric,
        rows: Int[Tensor, " row"],
    ) -> Float[Tensor, "edge row"]:
        """The metric with each edge (source, port) replaced alone, exactly; many edges share a
        forward pass.

        `rows` are the numbers of the batch's examples, passed to the metric.
        """

    @abstractmethod
    def linear_effects(
        self,
        batch: Batch,
        changes: Changes,
        metric: Metric,
        rows: Int[Tensor, " row"],
        moment: Moment = CLEAN,
    ) -> Float[Tensor, "row source port"]:
        """`Σ change_source · ∂metric/∂port` per example: a first-order estimate of every edge's
        effect at once.

        Cost: one forward and one backward pass (one more forward pass where `moment` is not the
        clean run).
        """

    @abstractmethod
    def observe(
        self,
        batch: Batch,
        changes: Changes | None = None,
        replaced: Bool[Tensor, "source port"] | None = None,
    ) -> tuple[Tensor, ...]:
        """Every source's output, `[row, …]` each, clean or with edges replaced as in `output`."""

    def nodes_one_by_one(
        self,
        batch: Batch,
        changes: Changes,
        sources: Sequence[int],
        metric: Metric,
        rows: Int[Tensor, " row"],
    ) -> Float[Tensor, "source row"]:
        """The metric with each source changed alone, for everything that reads it.

        Cost: one forward pass per source; transformers run many at once, and only the later layers.
        """
        found = torch.empty(len(sources), len(rows))
        for number, source in enumerate(sources):
            mask = torch.zeros_like(self.connected)
            mask[source] = self.connected[source]
            found[number] = metric(self.output(batch, changes, mask), rows).detach().float().cpu()
        return found

    @property
    def source_groups(self) -> tuple[tuple[int, ...], ...]:
        """Sources that EAP-IG over activations moves together: one part of one layer."""
        return tuple((index,) for index in range(len(self.sources)))

    @property
    def droppable(self) -> tuple[int, ...]:
        """The layers whose gradients GradDrop can leave out."""
        return ()

    @cached_property
    def edges(self) -> Int[np.ndarray, "edge 2"]:
        """The numbers of source and port of every edge, ordered by port."""
        pairs: np.ndarray = np.argwhere(self.connected.T.cpu().numpy())[:, ::-1]
        return pairs

    def named(self, edges: Int[np.ndarray, "edge 2"]) -> list[Edge]:
        """Edges by name."""
        return [Edge(self.sources[source].name, self.ports[port].name) for source, port in edges]

    def numbers(self, edges: Sequence[Edge]) -> Int[np.ndarray, "edge 2"]:
        """Edges by number.

        Raises:
            InputError: a source, a port or an edge does not exist.
        """
        sources = {node.name: number for number, node in enumerate(self.sources)}
        ports = {port.name: number for number, port in enumerate(self.ports)}
        for edge in edges:
            require_known("source", edge.source, sources)
            require_known("port", edge.port, ports)
        found = np.array(
            [(sources[edge.source], ports[edge.port]) for edge in edges], dtype=int
        ).reshape(-1, 2)
        for edge, (source, port) in zip(edges, found, strict=True):
            if not self.connected[source, port]:
                raise InputError(
                    f"there is no edge {edge}: {edge.port} does not come after {edge.source}; "
                    "edges go to later layers"
                )
        return found

    def mask(self, edges: Int[np.ndarray, "edge 2"]) -> Bool[Tensor, "source port"]:
        """Some edges as a table."""
        chosen = torch.zeros_like(self.connected)
        chosen[edges[:, 0], edges[:, 1]] = True
        return chosen
