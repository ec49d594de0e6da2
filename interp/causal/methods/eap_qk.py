"""EAP with the QK fix: queries and keys go exactly through the softmax."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.methods.search import over_batches
from interp.causal.wiring.examples import Examples, Part
from interp.causal.wiring.residual import ResidualWiring
from interp.causal.wiring.wiring import Metric
from interp.core import InputError, Progress, silent


def eap_qk(
    examples: Examples, metric: Metric, *, progress: Progress = silent
) -> Float[np.ndarray, "example edge"]:
    """EAP, with edges into queries and keys measured exactly up to the attention's output and
    linearly after it (Kramár et al. 2024).

    Needed where attention is saturated: there the softmax has almost no gradient, but a changed
    query can still move all of the attention.

    Cost: EAP, another backward pass, and two attention layers per source and later layer.

    Raises:
        InputError: the network has no attention.
    """
    wiring = examples.wiring
    if not isinstance(wiring, ResidualWiring):
        raise InputError(
            f"{type(wiring).__name__} has no queries and keys to fix; use method 'eap' or "
            "'eap-ig-inputs'"
        )
    fixed = torch.tensor([port.name.endswith((".q", ".k")) for port in wiring.ports])

    def effects(part: Part) -> Float[Tensor, "row source port"]:
        linear = wiring.linear_effects(part.batch, part.changes, metric, part.rows)
        return torch.where(
            fixed, wiring.softmax_effects(part.batch, part.changes, metric, part.rows), linear
        )

    return over_batches(examples, effects, what="EAP with the QK fix", progress=progress)
