"""Edge attribution patching: the effect of every edge to first order, from one backward pass."""

import numpy as np
from jaxtyping import Float

from interp.causal.methods.search import over_batches
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.wiring import Metric
from interp.core import Progress, silent


def eap(
    examples: Examples, metric: Metric, *, progress: Progress = silent
) -> Float[np.ndarray, "example edge"]:
    """`(v − a_source) · ∂m/∂port` at the clean run, summed over positions (Nanda 2023; Syed, Rager
    & Conmy 2023).

    Wrong wherever the metric is not linear in what changes: where attention is saturated its
    gradient is nearly zero, and edges into queries and keys are missed.

    Cost: two forward passes and one backward pass for all edges.
    """
    wiring = examples.wiring
    return over_batches(
        examples,
        lambda part: wiring.linear_effects(part.batch, part.changes, metric, part.rows),
        what="EAP",
        progress=progress,
    )
