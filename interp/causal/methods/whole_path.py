"""Path patching: the effect that travels along one path and along no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.wiring.examples import Examples, Part
from interp.causal.wiring.replacement import Changes, Value
from interp.causal.wiring.wiring import Edge, Metric, Wiring
from interp.core import InputError, Score, bootstrap_mean


@dataclass(frozen=True)
class _Carried(Changes):
    """One source's change as measured; no other source changes."""

    source: int
    given: Tensor
    name: Value = "resample"

    def change(self, source: int, value: Tensor) -> Tensor:
        return self.given if source == self.source else torch.zeros_like(value)


@torch.no_grad()
def whole_path_effect(
    examples: Examples, metric: Metric, path: Sequence[Edge], *, seed: int = 0
) -> Score:
    """`m − m(clean)` when the first edge's replacement reaches the output along `path` alone
    (Goldowsky-Dill et al. 2023).

    The change that the first edge makes in the next part's output is passed to the port of the
    second edge only, and so on; everything off the path, MLPs in between included, stays at its
    clean value (frozen). The control is the same path with the changes permuted over the examples
    of a batch.

    Args:
        path: edges that follow each other; the last ends at the network's last port.

    Raises:
        InputError: an edge does not exist, or edges do not follow each other to the output.

    Cost: one forward pass per edge and batch, twice for the control.

    Example:
        >>> whole_path_effect(
        ...     examples, metric, [Edge("L5.head1", "L9.head0.k"), Edge("L9.head0", "logits")]
        ... )
    """
    wiring = examples.wiring
    numbers = wiring.numbers(path)
    _check(wiring, path)
    effects, controls = np.empty(len(examples)), np.empty(len(examples))
    for part in examples:
        rows = part.rows.numpy()
        clean = metric(wiring.output(part.batch), part.rows)
        permuted = torch.arange(len(rows)).roll(1)
        effects[rows] = (_along(wiring, part, metric, numbers, None) - clean).cpu().numpy()
        controls[rows] = (_along(wiring, part, metric, numbers, permuted) - clean).cpu().numpy()
    return bootstrap_mean(effects, seed=seed, control=float(controls.mean()))


def _along(
    wiring: Wiring, part: Part, metric: Metric, path: np.ndarray, permuted: Tensor | None
) -> Float[Tensor, " row"]:
    before = wiring.observe(part.batch)
    source = int(path[0, 0])
    change = part.changes.change(source, before[source])
    change = change if permuted is None else change[permuted]
    for step, edge in enumerate(path[:-1]):
        mask = wiring.mask(edge[None])
        source = int(path[step + 1, 0])
        after = wiring.observe(part.batch, _Carried(int(edge[0]), change), mask)
        change = after[source] - before[source]
    mask = wiring.mask(path[-1:])
    return metric(wiring.output(part.batch, _Carried(source, change), mask), part.rows)


def _check(wiring: Wiring, path: Sequence[Edge]) -> None:
    if not path:
        raise InputError("the path has no edges; give at least one, [Edge('L5.head1', 'logits')]")
    nodes = {port.name: port.nodes for port in wiring.ports}
    for one, two in pairwise(path):
        if two.source not in nodes[one.port]:
            raise InputError(
                f"{two} does not follow {one}: {one.port} is an input of "
                f"{', '.join(nodes[one.port])}; name one of them next"
            )
    end = wiring.ports[-1].name
    if path[-1].port != end and wiring.ports[-1].layer != next(
        port.layer for port in wiring.ports if port.name == path[-1].port
    ):
        raise InputError(f"the path ends at {path[-1].port}; add edges that lead to {end}")
