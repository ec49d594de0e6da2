"""Exact edge patching, the reference for estimates: each edge is replaced alone and the metric
measured.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

from interp.causal.wiring.examples import Examples
from interp.causal.wiring.wiring import Metric
from interp.core import Progress, silent

PORTION = 2000


def exact(
    examples: Examples,
    metric: Metric,
    clean: Float[np.ndarray, " example"] | None = None,
    edges: Int[np.ndarray, "edge 2"] | None = None,
    *,
    progress: Progress = silent,
) -> Float[np.ndarray, "example edge"]:
    """`m(edge replaced) − m(clean)` of every edge, or of some, for every example (path patching;
    Goldowsky-Dill et al. 2023).

    `clean` is the metric with nothing replaced, if known.

    Cost: per edge and batch, one run of the layers after its port, many edges in one call.
    """
    wiring = examples.wiring
    chosen = wiring.edges if edges is None else edges
    table = np.empty((len(examples), len(chosen)), dtype=np.float32)
    total, done = len(chosen) * len(examples), 0
    for part in examples:
        rows = part.rows.numpy()
        with torch.no_grad():
            base = (
                metric(wiring.output(part.batch), part.rows).float().cpu()
                if clean is None
                else torch.from_numpy(clean[rows]).float()
            )
        for start in range(0, len(chosen), PORTION):
            portion = chosen[start : start + PORTION]
            values = wiring.one_by_one(part.batch, part.changes, portion, metric, part.rows).cpu()
            table[rows, start : start + len(portion)] = (values - base).T.numpy()
            done += len(portion) * len(rows)
            progress("exact patching", done, total, "edge × example")
    return table
