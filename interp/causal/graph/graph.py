"""CausalGraph: the edges of a network with the effect of each on a metric."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, SupportsIndex, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.causal.graph.display import shown_graph
from interp.causal.graph.export import read_graph, to_graphml, to_json, to_networkx
from interp.causal.graph.selection import mean_scores
from interp.causal.wiring.replacement import Value
from interp.causal.wiring.wiring import Edge, Node, Port
from interp.core import Provenance, Score
from interp.core.names import require_known

if TYPE_CHECKING:
    import networkx

Method = Literal[
    "exact",
    "eap",
    "eap-ig-inputs",
    "eap-ig-activations",
    "eap-qk",
    "eap-graddrop",
    "acdc",
    "interventional",
    "regression",
]


@dataclass(frozen=True, repr=False, kw_only=True)
class CausalGraph:
    """Every edge of a network with its effect on a metric, `m(edge replaced) − m(clean)`, measured
    or estimated by `method`.

    `per_example [example, edge]` holds the effects, `effects [edge]` their means; `edges [edge, 2]`
    the numbers of source and port in `nodes` and `ports`. `value` is what contributions were
    replaced with: without it an effect means nothing. `clean [example]` is the metric with nothing
    replaced, `replaced [example]` with everything. `kept [edge]` are the edges that the method
    chose (ACDC, the interventional graph); None where it only ranks.
    """

    nodes: tuple[Node, ...]
    ports: tuple[Port, ...]
    edges: Int[np.ndarray, "edge 2"]
    per_example: Float[np.ndarray, "example edge"]
    clean: Float[np.ndarray, " example"]
    replaced: Float[np.ndarray, " example"]
    method: Method
    value: Value
    metric: str
    provenance: Provenance
    kept: Bool[np.ndarray, " edge"] | None = None
    details: Mapping[str, Float[np.ndarray, " edge"]] = field(default_factory=dict)
    """What a method reports of every edge besides its effect (p values)."""

    @cached_property
    def effects(self) -> Float[np.ndarray, " edge"]:
        """The mean effect of every edge."""
        return self.per_example.mean(axis=0)

    def __repr__(self) -> str:
        return (
            f"CausalGraph({len(self.edges):,} edges by {self.method}, value {self.value}, "
            f"{len(self.per_example)} examples)"
        )

    def edge(self, number: SupportsIndex) -> Edge:
        """The edge of a number (as from `strongest`)."""
        source, port = self.edges[number]
        return Edge(self.nodes[source].name, self.ports[port].name)

    def strongest(self, count: int) -> Int[np.ndarray, " count"]:
        """The numbers of the edges with the largest |effect|, largest first; ties in network
        order.
        """
        return np.argsort(-np.abs(self.effects), kind="stable")[:count]

    def scores(
        self, numbers: Int[np.ndarray, " chosen"], *, seed: int = 0, resamples: int = 1000
    ) -> list[Score]:
        """Mean effects with bootstrap intervals over examples, the same resamples for all edges.

        Example:
            >>> graph.scores(graph.strongest(3))
        """
        return mean_scores(self.per_example[:, numbers], seed=seed, resamples=resamples)

    def take(self, rows: Int[np.ndarray, " row"]) -> "CausalGraph":
        """The graph of some of the examples."""
        return replace(
            self,
            per_example=self.per_example[rows],
            clean=self.clean[rows],
            replaced=self.replaced[rows],
        )

    def _repr_html_(self) -> str:
        return shown_graph(self)

    def to_networkx(
        self, numbers: Int[np.ndarray, " chosen"] | None = None
    ) -> "networkx.MultiDiGraph[str]":
        """Parts as nodes, contributions as edges with `effect`, `low`, `high` (see
        `interp.causal.graph.export`).
        """
        return to_networkx(self, numbers)

    def to_json(self, path: Path) -> Path:
        """Every number, exactly; `CausalGraph.load` is the inverse."""
        return to_json(self, path)

    def to_graphml(self, path: Path, numbers: Int[np.ndarray, " chosen"] | None = None) -> Path:
        """For Gephi, Cytoscape, yEd."""
        return to_graphml(self, path, numbers)

    @classmethod
    def load(cls, path: Path) -> "CausalGraph":
        """A graph that `to_json` wrote.

        Raises:
            UnavailableError: the file is missing or is not json.
            InputError: the file is not one, or a damaged one.
        """
        fields = read_graph(path)
        require_known(f"method in {path}:", fields["method"], get_args(Method))
        return cls(**fields)
