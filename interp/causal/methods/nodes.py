"""Node patching: a part's whole output is replaced, for everything that reads it."""

import numpy as np
import torch
from jaxtyping import Float

from interp.causal.wiring.examples import Examples
from interp.causal.wiring.wiring import Metric
from interp.core import Progress, silent


@torch.no_grad()
def node_effects(
    examples: Examples, metric: Metric, *, progress: Progress = silent
) -> Float[np.ndarray, "example source"]:
    """`m(output of a source replaced) − m(clean)` for every source and example, measured
    (activation patching; Vig et al. 2020).

    Replacing an output replaces its contribution to every port that reads it.

    Cost: one forward pass per source and batch; for transformers only of the later layers, all
    heads of a layer at once.

    Example:
        >>> effects = node_effects(Examples(wiring, prompts, counterfactuals), metric)
        >>> wiring.sources[abs(effects.mean(axis=0)).argmax()].name
    """
    wiring = examples.wiring
    effects = np.empty((len(examples), len(wiring.sources)), dtype=np.float32)
    done = 0
    for part in examples:
        clean = metric(wiring.output(part.batch), part.rows)
        changed = wiring.nodes_one_by_one(
            part.batch, part.changes, range(len(wiring.sources)), metric, part.rows
        )
        effects[part.rows.numpy()] = (changed - clean.float().cpu()).T.numpy()
        done += len(part.rows)
        progress("node patching", done, len(examples), "example")
    return effects
