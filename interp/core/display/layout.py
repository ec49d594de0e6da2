"""Layout of a drawn graph: a column per layer, no overlapping names, edges as level as can be."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

LETTER, GAP = 6.6, 14.0
"""Pixels per letter of a label, and between two labels of a row."""

WIDTH = 1060.0
SWEEPS = 6
CROSSED = 1.5
"""Cost, in rows, of an edge passing within `CLOSE` rows of a part that is not its own."""

CLOSE = 0.45


def columns(layers: Mapping[str, int]) -> dict[str, float]:
    """The column of every part, 0 to 1; layers with nothing drawn take no room."""
    used = sorted(set(layers.values()))
    return {name: used.index(layer) / max(1, len(used) - 1) for name, layer in layers.items()}


def rows(
    layers: Mapping[str, int],
    edges: Sequence[tuple[str, str]],
    weights: Float[np.ndarray, " edge"],
    across: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """The row of every part, 0 in the middle: as near as possible to its neighbours, with no
    overlapping labels.

    `across` are the parts' x positions in pixels (default: columns evenly over `WIDTH`). Parts are
    placed from left to right and then moved a few times, each to the best free row. Cost:
    sweeps × parts × rows × edges.

    Example:
        >>> rows({"input": 0, "out": 1}, [("input", "out")], np.ones(1))
        {'input': 0, 'out': 0}
    """
    names = sorted(layers, key=lambda name: (layers[name], name))
    if not names:
        return {}
    if across is None:
        across = {name: WIDTH * share for name, share in columns(layers).items()}
    x = np.array([across[name] for name in names])
    half = np.array([(LETTER * len(name) + GAP) / 2 for name in names])
    number = {name: place for place, name in enumerate(names)}
    ends = np.array([(number[one], number[other]) for one, other in edges], dtype=int).reshape(
        -1, 2
    )
    heavy = weights / weights.max() if len(weights) and weights.max() > 0 else np.ones(len(ends))
    found: dict[int, int] = {}
    for sweep in range(SWEEPS):
        for part in range(len(names)) if sweep % 2 == 0 else reversed(range(len(names))):
            found.pop(part, None)
            found[part] = _best_row(part, found, x, half, ends, heavy)
    middle = (min(found.values()) + max(found.values())) // 2
    return {name: found[number[name]] - middle for name in names}


def _best_row(
    part: int,
    placed: Mapping[int, int],
    x: Float[np.ndarray, " part"],
    half: Float[np.ndarray, " part"],
    ends: Int[np.ndarray, "edge 2"],
    heavy: Float[np.ndarray, " edge"],
) -> int:
    """The free row with the least cost: distance to neighbours and middle, edges through parts."""
    taken = {
        row for other, row in placed.items() if abs(x[other] - x[part]) < half[other] + half[part]
    }
    reach = max([abs(row) for row in placed.values()], default=0) + 1
    free = np.array([row for row in range(-reach, reach + 1) if row not in taken])
    cost = 0.05 * np.abs(free).astype(float)
    own = [
        (int(sum(pair)) - part, 0.2 + weight)
        for pair, weight in zip(ends, heavy, strict=True)
        if part in pair
    ]
    near = [(other, weight) for other, weight in own if other in placed]
    total = sum(weight for _, weight in near)
    others = [other for other in placed if other not in {end for end, _ in near}]
    for neighbour, weight in near:
        cost += weight * np.abs(free - placed[neighbour]) / total
        cost += CROSSED * _crossings(free, part, neighbour, others, placed, x)
    for one, other in ends:
        if (
            part not in (one, other)
            and one in placed
            and other in placed
            and x[one] < x[part] < x[other]
        ):
            level = placed[int(one)] + _bend((x[part] - x[one]) / (x[other] - x[one])) * (
                placed[int(other)] - placed[int(one)]
            )
            cost += CROSSED * (np.abs(free - level) < CLOSE)
    return int(free[np.argmin(cost)])


def _crossings(
    free: Int[np.ndarray, " row"],
    part: int,
    neighbour: int,
    others: Sequence[int],
    placed: Mapping[int, int],
    x: Float[np.ndarray, " part"],
) -> Float[np.ndarray, " row"]:
    """How many other parts the edge to a neighbour would cross, from every free row."""
    between = [
        other
        for other in others
        if min(x[part], x[neighbour]) < x[other] < max(x[part], x[neighbour])
    ]
    share = _bend((x[between] - x[part]) / (x[neighbour] - x[part])) if between else np.empty(0)
    levels = free[:, None] + share * (placed[neighbour] - free[:, None])
    return np.asarray(
        (np.abs(levels - [placed[other] for other in between]) < CLOSE).sum(axis=1).astype(float)
    )


def _bend(share: Float[np.ndarray, " part"] | float) -> Any:
    """How far an edge has risen after a share of its way (smoothstep: level at both ends)."""
    return share * share * (3 - 2 * share)


def curve(
    start: tuple[float, float], end: tuple[float, float], bow: float = 0.0, points: int = 17
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """An edge as a line that leaves and arrives level, `bow` rows higher in the middle."""
    share = np.linspace(0, 1, points)
    return start[0] + share * (end[0] - start[0]), start[1] + _bend(share) * (
        end[1] - start[1]
    ) + 4 * bow * share * (1 - share)
