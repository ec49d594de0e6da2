"""Exports: nothing is lost in json, GraphML says what networkx says, and damaged files are
refused.
"""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pytest
from linear_wiring import LinearWiring

from interp.causal.graph.export import to_graphml, to_json, to_networkx
from interp.causal.graph.graph import CausalGraph
from interp.causal.wiring.wiring import Port
from interp.core import InputError, Provenance, UnavailableError

WIRING = LinearWiring((2, 2))
TOTAL = len(WIRING.edges)


def graph(**changed: Any) -> CausalGraph:
    generator = np.random.default_rng(0)
    table = generator.standard_normal((6, TOTAL)).astype(np.float32)
    clean = generator.standard_normal(6)
    provenance = Provenance("eap", parameters={"value": "zero"}, seed=3, cost={"seconds": 1.5})
    made = CausalGraph(
        nodes=WIRING.sources,
        ports=WIRING.ports,
        edges=WIRING.edges,
        per_example=table,
        clean=clean,
        replaced=clean / 3,
        method="eap",
        value="zero",
        metric="<b>margin</b>",
        provenance=provenance,
    )
    return replace(made, **changed)


def test_json_gives_every_number_back_bit_for_bit(tmp_path: Path) -> None:
    odd = np.full(TOTAL, 0.1)
    odd[:3] = np.nan, -0.0, np.inf
    before = graph(kept=np.arange(TOTAL) % 2 == 0, details={"p": odd})
    after = CausalGraph.load(to_json(before, tmp_path / "graph.json"))
    for item in fields(CausalGraph):
        one, other = getattr(before, item.name), getattr(after, item.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()
        elif item.name != "details":
            assert one == other
    assert after.details["p"].tobytes() == odd.tobytes()
    assert CausalGraph.load(to_json(graph(), tmp_path / "bare.json")).kept is None
    written = json.loads((tmp_path / "graph.json").read_text())
    assert written["strongest"][0]["edge"] == str(before.edge(int(before.strongest(1)[0])))


def test_networkx_holds_names_layers_effects_and_intervals() -> None:
    own = graph()
    made = to_networkx(own, np.arange(TOTAL))
    assert made.number_of_edges() == TOTAL
    assert made.nodes["n2.1"]["layer"] == 2
    assert made.nodes["out"]["layer"] == 3
    assert made.graph["value"] == "zero"
    for number in range(TOTAL):
        edge = own.edge(number)
        data = made.edges[edge.source, edge.port.removesuffix(".in"), edge.port]
        assert data["effect"] == pytest.approx(own.effects[number])
        assert data["low"] < data["effect"] < data["high"]
    strongest = to_networkx(own)
    assert strongest.number_of_edges() == 1
    assert networkx.is_directed_acyclic_graph(made)
    with pytest.raises(InputError, match=f"edges 0 to {TOTAL - 1}"):
        to_networkx(own, np.array([TOTAL]))


def test_a_shared_port_leads_to_each_of_its_parts() -> None:
    ports = (Port("n1.k", ("n1.0", "n1.1"), 1), *WIRING.ports[1:])
    made = to_networkx(graph(ports=ports), np.array([0]))
    assert sorted(made.edges(keys=True)) == [("input", "n1.0", "n1.k"), ("input", "n1.1", "n1.k")]


def test_graphml_is_read_back_as_the_same_graph(tmp_path: Path) -> None:
    made = to_networkx(graph(), np.arange(TOTAL))
    read = networkx.read_graphml(
        to_graphml(graph(), tmp_path / "graph.graphml", np.arange(TOTAL)), force_multigraph=True
    )
    assert dict(read.nodes(data=True)) == dict(made.nodes(data=True))
    assert {(a, b, key): data for a, b, key, data in read.edges(keys=True, data=True)} == {
        (a, b, key): data for a, b, key, data in made.edges(keys=True, data=True)
    }
    assert read.graph["metric"] == "<b>margin</b>"


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = to_json(graph(), tmp_path / "graph.json")
    good = json.loads(path.read_text())
    with pytest.raises(UnavailableError):
        CausalGraph.load(tmp_path / "missing.json")
    shorter = {**good["arrays"], "clean": {**good["arrays"]["clean"], "shape": [5]}}
    other = {**good["arrays"], "clean": good["arrays"]["edges"]}
    evil = {**good["arrays"], "clean": {**good["arrays"]["clean"], "dtype": "object"}}
    for changed, message in (
        ({"format": "other"}, "not a causal graph"),
        ({"arrays": {}}, "damaged"),
        ({"arrays": shorter}, "damaged"),
        ({"arrays": other}, "damaged"),
        ({"arrays": evil}, "unknown dtype"),
        ({"nodes": good["nodes"][:2]}, "do not fit"),
        ({"method": "magic"}, "unknown method"),
    ):
        path.write_text(json.dumps({**good, **changed}))
        with pytest.raises(InputError, match=message):
            CausalGraph.load(path)
