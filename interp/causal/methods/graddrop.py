"""GradDrop: EAP with one layer's gradient dropped at a time, so that effects do not cancel."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.methods.search import averaged_over, over_batches
from interp.causal.wiring.examples import Examples, Part
from interp.causal.wiring.wiring import CLEAN, Metric, Moment
from interp.core import InputError, Progress, silent


def eap_graddrop(
    examples: Examples, metric: Metric, *, progress: Progress = silent
) -> Float[np.ndarray, "example edge"]:
    """`1/(L − 1) · Σ over layers of |EAP with the gradient through that layer dropped|`, with EAP's
    sign (Kramár et al. 2024, eq. 13).

    A direct and an indirect effect of opposite sign cancel in EAP, a false negative; with a layer's
    gradient dropped one of them remains. The published score has no sign; EAP's is added here.

    Cost: one forward and backward pass per layer.

    Raises:
        InputError: the network has fewer than two layers whose gradients can be dropped.
    """
    wiring = examples.wiring
    layers = wiring.droppable
    if len(layers) < 2:
        raise InputError(
            f"GradDrop leaves out one layer at a time; {type(wiring).__name__} has {len(layers)}, "
            "use method 'eap'"
        )

    def effects(part: Part) -> Float[Tensor, "row source port"]:
        def at(moment: Moment) -> Tensor:
            return wiring.linear_effects(part.batch, part.changes, metric, part.rows, moment)

        size = averaged_over(
            len(layers), lambda k: at(Moment(skipped=frozenset({layers[k]}))).abs()
        )
        return torch.copysign(size * len(layers) / (len(layers) - 1), at(CLEAN))

    return over_batches(examples, effects, what="GradDrop", progress=progress)
