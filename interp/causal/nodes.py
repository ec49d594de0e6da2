"""Node patching: a part's whole output is replaced, for everything that reads it."""

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.examples import Examples
from interp.causal.wiring import Metric
from interp.core import Progress, silent


@torch.no_grad()
def node_effects(examples: Examples, metric: Metric, *, progress: Progress = silent) -> Float[np.ndarray, "example source"]:
    """`m(output of a source replaced) − m(clean)` for every source and example, measured (activation patching; Vig et al. 2020).

    Replacing an output is replacing its contribution to every port that reads it.

    Cost: one forward pass for every source and batch.

    Example:
        >>> effects = node_effects(Examples(wiring, prompts, counterfactuals), metric)
        >>> wiring.sources[abs(effects.mean(axis=0)).argmax()].name
    """
    wiring = examples.wiring
    effects = np.empty((len(examples), len(wiring.sources)), dtype=np.float32)
    for part in examples:
        clean = metric(wiring.output(part.batch), part.rows)
        for source in range(len(wiring.sources)):
            mask = torch.zeros_like(wiring.connected)
            mask[source] = wiring.connected[source]
            changed = metric(wiring.output(part.batch, part.changes, mask), part.rows)
            effects[part.rows.numpy(), source] = (changed - clean).cpu().numpy()
            progress("node patching", source + 1, len(wiring.sources), "node")
    return effects
