"""Edge patching from scratch, for circuits written by hand: every port is given its own sum of
contributions, in double precision.

What is called truth shares no code with the package and uses no hooks: parts are recomputed from
their weights, one edge at a time.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import get_args

import numpy as np
import torch
from circuits import Attention, Circuit, rotated, wired
from jaxtyping import Bool, Float, Int
from torch import Tensor
from written_networks import Contrast, induction, repeats

from interp.causal import CausalGraph, Method, Value, path_effects

Replacement = Callable[[str, Tensor], Tensor]
"""The value that takes the place of a source's, by its name and value `[row, position, d]`."""

KINDS = "qkv"
VALUES: tuple[Value, ...] = get_args(Value)
FLOOR = 1e-6
"""Of the largest effect. What a weight rounded to single precision leaves of a zero is below 1e-7,
the weakest true effect above 1e-3.
"""


def sources_of(module: Circuit, ids: Int[Tensor, "row position"]) -> dict[str, Tensor]:
    """What every source adds to the stream."""
    return _run(_double(module), ids, None, None)[1]


def metric_without(
    module: Circuit,
    ids: Int[Tensor, "row position"],
    metric: Callable[[Tensor, Tensor], Tensor],
    replacement: Replacement,
) -> dict[tuple[str, str], Float[Tensor, " row"]]:
    """`m(edge replaced) − m(clean)` of every edge, by the names of source and port."""
    double, rows = _double(module), torch.arange(len(ids))
    output, values, ports = _run(double, ids, None, None)
    clean = metric(output, rows)
    return {
        (source, port): metric(
            _run(double, ids, (source, port), replacement(source, values[source]))[0], rows
        )
        - clean
        for port, sources in ports.items()
        for source in sources
    }


def replacement_of(
    value: str,
    module: Circuit,
    others: Int[Tensor, "row position"],
    directions: Mapping[str, Tensor] | None = None,
) -> Replacement:
    """A replacement by its name in the package."""
    there = sources_of(module, others)
    named = {name: vector.double() for name, vector in (directions or {}).items()}

    def replaced(source: str, own: Tensor) -> Tensor:
        if value == "zero":
            return torch.zeros_like(own)
        if value == "resample":
            return there[source]
        if value == "mean":
            return there[source].mean(0, keepdim=True).expand_as(own)
        if source not in named:
            return own
        vector = named[source]
        return (
            own + vector
            if value == "add"
            else own - (own @ vector)[..., None] * vector / (vector @ vector)
        )

    return replaced


def _double(module: Circuit) -> Circuit:
    return copy.deepcopy(module).double().requires_grad_(False)


def _run(
    module: Circuit, ids: Tensor, edge: tuple[str, str] | None, value: Tensor | None
) -> tuple[Tensor, dict[str, Tensor], dict[str, list[str]]]:
    """The output at the last position, every source's value, and which sources each port reads."""
    values = {"embed": module.tokens[ids] + module.positions[: ids.shape[1]]}
    ports: dict[str, list[str]] = {}

    def read(port: str) -> Tensor:
        ports[port] = list(values)
        return sum(value if (source, port) == edge else own for source, own in values.items())

    for layer, block in enumerate(module.blocks):
        if block.attention is not None:
            heads = range(block.attention.heads)
            values |= {
                f"L{layer}.head{head}": _head(block.attention, head, read, f"L{layer}.head{head}")
                for head in heads
            }
        if block.mlp is not None:
            inner = read(f"L{layer}.mlp.in") @ block.mlp.into.weight.T + block.mlp.into.bias
            values[f"L{layer}.mlp"] = (
                inner if block.mlp.linear else inner.clamp(min=0)
            ) @ block.mlp.out.weight.T
    return read("logits")[:, -1] @ module.unembed.weight.T, values, ports


def _head(attention: Attention, head: int, read: Callable[[str], Tensor], name: str) -> Tensor:
    inner = attention.q.out_features // attention.heads
    own = slice(head * inner, (head + 1) * inner)
    query, key, value = (
        read(f"{name}.{kind}") @ getattr(attention, kind).weight[own].T for kind in KINDS
    )
    scores = torch.einsum("rid,rjd->rij", query, key)
    if attention.causal:
        place = torch.arange(scores.shape[-1])
        scores = torch.where(place[:, None] >= place[None], scores, -torch.inf)
    weights = (scores - scores.max(-1, keepdim=True).values).exp()
    return (
        torch.einsum("rij,rjd->rid", weights / weights.sum(-1, keepdim=True), value)
        @ attention.o.weight[:, own].T
    )


@dataclass(frozen=True)
class Truth:
    """Every edge's effect on every example, from scratch; edges in the package's order. `edges` are
    those with an effect at all.
    """

    names: tuple[tuple[str, str], ...]
    per_example: Float[np.ndarray, "example edge"]

    @property
    def effects(self) -> Float[np.ndarray, " edge"]:
        """Means over examples."""
        return self.per_example.mean(axis=0)

    @property
    def edges(self) -> Bool[np.ndarray, " edge"]:
        """More than rounding leaves of an effect that is none."""
        return np.abs(self.effects) > FLOOR * np.abs(self.effects).max()


def truth(module: Circuit, data: Contrast, value: str) -> Truth:
    """The truth about a circuit for one replacement value (for `add` and `project out`, of
    `directions_of`).
    """
    wiring = wired(module)
    names = tuple((edge.source, edge.port) for edge in wiring.named(wiring.edges))
    replacement = replacement_of(value, module, data.others, directions_of(module))
    found = metric_without(module, data.inputs, data.metric, replacement)
    assert set(found) == set(names)
    return Truth(names, np.stack([found[name].numpy() for name in names], axis=1))


def directions_of(module: Circuit, seed: int = 1) -> dict[str, Tensor]:
    """A random direction for every source."""
    generator = torch.Generator().manual_seed(seed)
    names = sources_of(module, torch.zeros(1, 2, dtype=torch.long))
    return {name: torch.randn(module.tokens.shape[1], generator=generator) for name in names}


def measured(
    module: Circuit, data: Contrast, method: Method, value: str, *, threshold: float = 1e-3
) -> CausalGraph:
    """What the package says of the same."""
    directions = directions_of(module) if value in ("add", "project out") else None
    return path_effects(
        wired(module),
        data.inputs,
        data.others,
        metric=data.metric,
        method=method,
        value=value,
        directions=directions,
        threshold=threshold,
    )


@cache
def on_induction(
    sharpness: float, turned: bool, method: Method, value: str, *, copies: int = 1
) -> CausalGraph:
    """What the package says of the induction transformer; several tests look at one graph."""
    return measured(induction_network(sharpness, turned, copies), repeats(), method, value)


@cache
def of_induction(sharpness: float, turned: bool, value: str) -> Truth:
    """The truth about it."""
    return truth(induction_network(sharpness, turned), repeats(), value)


@cache
def induction_network(sharpness: float, turned: bool, copies: int = 1) -> Circuit:
    """The induction transformer, in a rotated stream where `turned`."""
    module = induction(sharpness, copies=copies)
    return rotated(module) if turned else module
