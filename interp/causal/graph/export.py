"""Graphs for other programs: networkx, GraphML, and json that holds every number exactly."""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from jaxtyping import Int

from interp.causal.graph.selection import chosen
from interp.causal.wiring.replacement import Value
from interp.causal.wiring.wiring import Node, Port
from interp.core import InputError, Provenance
from interp.core.files import read_json, replacing, write_json
from interp.core.names import require_known

if TYPE_CHECKING:
    import networkx

    from interp.causal.graph.graph import CausalGraph

FORMAT = "interp causal graph 1"
ARRAYS = ("edges", "per_example", "clean", "replaced")
DTYPES = ("float16", "float32", "float64", "int32", "int64", "bool")


def to_networkx(
    graph: "CausalGraph", numbers: Int[np.ndarray, " edge"] | None = None, *, seed: int = 0
) -> "networkx.MultiDiGraph[str]":
    """Parts as nodes (`layer`), contributions as edges keyed by their port (`effect`, `low`,
    `high`, `port`, `number`).

    `numbers` are the edges to export (default: those the method kept, or the strongest 5 %). A port
    of several parts (a shared key) gives an edge to each. Intervals are bootstrap 95 % over
    examples. Replacement value, metric and method are attributes of the graph.

    Raises:
        InputError: a number is not one of an edge.

    Example:
        >>> networkx.has_path(to_networkx(graph), "embed", "logits")
        True
    """
    import networkx

    numbers = np.flatnonzero(chosen(graph)) if numbers is None else numbers
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(graph.edges)):
        raise InputError(
            f"edges {numbers.min()} to {numbers.max()} were asked for; the graph has edges 0 to "
            f"{len(graph.edges) - 1}"
        )
    made = networkx.MultiDiGraph(
        value=graph.value,
        metric=graph.metric,
        method=graph.method,
        examples=len(graph.per_example),
        interval="bootstrap 95%",
        seed=seed,
    )
    layers = {node.name: node.layer for node in graph.nodes}
    for number, score in zip(numbers.tolist(), graph.scores(numbers, seed=seed), strict=True):
        source, port = graph.nodes[graph.edges[number, 0]], graph.ports[graph.edges[number, 1]]
        made.add_node(source.name, layer=source.layer)
        for target in port.nodes:
            made.add_node(target, layer=layers.get(target, port.layer))
            given = {
                "effect": score.value,
                "low": score.low,
                "high": score.high,
                "port": port.name,
                "number": number,
            }
            made.add_edge(source.name, target, key=port.name, **given)
    return made


def to_graphml(
    graph: "CausalGraph",
    path: Path,
    numbers: Int[np.ndarray, " edge"] | None = None,
    *,
    seed: int = 0,
) -> Path:
    """Write `to_networkx` as GraphML (Gephi, Cytoscape, yEd), whole or not at all, and return the
    path.

    Raises:
        UnavailableError: the file cannot be written.
    """
    import networkx

    with replacing(path) as temporary:
        networkx.write_graphml_xml(to_networkx(graph, numbers, seed=seed), temporary)
    return path


def to_json(graph: "CausalGraph", path: Path) -> Path:
    """Write the whole graph and return the path; `CausalGraph.load` restores it bit for bit.

    Names and mean effects are plain json; the arrays are packed (base64 of little-endian numbers),
    so NaN survives.

    Raises:
        UnavailableError: the file cannot be written.

    Example:
        >>> CausalGraph.load(to_json(graph, Path("graph.json"))).effects
    """
    write_json(
        path,
        {
            "format": FORMAT,
            "method": graph.method,
            "value": graph.value,
            "metric": graph.metric,
            "nodes": [asdict(node) for node in graph.nodes],
            "ports": [asdict(port) for port in graph.ports],
            "provenance": graph.provenance.to_dict(),
            "strongest": [
                {"edge": str(graph.edge(int(number))), "effect": float(graph.effects[number])}
                for number in graph.strongest(100)
            ],
            "arrays": {
                name: _packed(values)
                for name in (*ARRAYS, "kept")
                if (values := getattr(graph, name)) is not None
            },
            "details": {name: _packed(values) for name, values in graph.details.items()},
        },
    )
    return path


def read_graph(path: Path) -> dict[str, Any]:
    """The fields of the graph that `to_json` wrote.

    Raises:
        UnavailableError: the file is missing or is not json.
        InputError: it is not a graph, or a damaged one.
    """
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a causal graph of this version ({FORMAT!r}); write one with to_json"
        )
    try:
        arrays = {name: _unpacked(values) for name, values in data["arrays"].items()}
        details = {name: _unpacked(values) for name, values in data["details"].items()}
        made = {
            "nodes": tuple(Node(**node) for node in data["nodes"]),
            "ports": tuple(
                Port(port["name"], tuple(port["nodes"]), port["layer"]) for port in data["ports"]
            ),
            **{name: arrays[name] for name in ARRAYS},
            "kept": arrays.get("kept"),
            "details": details,
            "method": data["method"],
            "value": require_known("value", data["value"], get_args(Value)),
            "metric": data["metric"],
            "provenance": Provenance.from_dict(data["provenance"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {error}); write the graph again"
        ) from error
    if not _consistent(arrays | details, (len(made["nodes"]), len(made["ports"]))):
        raise InputError(
            f"{path} is damaged: its arrays do not fit together; write the graph again"
        )
    return made


def _consistent(arrays: Mapping[str, np.ndarray], limits: tuple[int, int]) -> bool:
    edges, table = arrays["edges"], arrays["per_example"]
    if table.ndim != 2 or edges.shape != (table.shape[1], 2):
        return False
    by_example = {"clean", "replaced"}
    sizes = {
        values.shape == (len(table) if name in by_example else len(edges),)
        for name, values in arrays.items()
        if name not in ("edges", "per_example")
    }
    return sizes == {True} and bool((edges >= 0).all() and (edges < limits).all())


def _packed(values: np.ndarray) -> dict[str, Any]:
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return {
        "dtype": values.dtype.name,
        "shape": list(values.shape),
        "base64": base64.b64encode(little.tobytes()).decode(),
    }


def _unpacked(packed: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(require_known("dtype", packed["dtype"], DTYPES))
    raw = base64.b64decode(packed["base64"], validate=True)
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(packed["shape"])
