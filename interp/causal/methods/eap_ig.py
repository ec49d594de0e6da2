"""EAP with integrated gradients: gradients averaged between the replacement and the clean run."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.methods.search import averaged_over, over_batches
from interp.causal.wiring.examples import Examples, Part
from interp.causal.wiring.wiring import Metric, Moment
from interp.core import InputError, Progress, silent


def eap_ig_inputs(
    examples: Examples, metric: Metric, *, steps: int = 5, progress: Progress = silent
) -> Float[np.ndarray, "example edge"]:
    """EAP with the gradient averaged over inputs `replacement + (k/S)(clean − replacement)`, k = 0
    … S − 1 (Hanna et al. 2024, eq. 3).

    Only the input is moved (a UNet's and a classifier's: all its channels). Cost: `steps` forward
    and backward passes.

    Raises:
        InputError: there are no steps.
    """
    shares = _shares(steps)
    wiring = examples.wiring

    def effects(part: Part) -> Float[Tensor, "row source port"]:
        def at(k: int) -> Float[Tensor, "row source port"]:
            moment = Moment(wiring.source_groups[0], shares[k])
            return wiring.linear_effects(part.batch, part.changes, metric, part.rows, moment)

        return averaged_over(steps, at)

    return over_batches(examples, effects, what="EAP-IG (inputs)", progress=progress)


def eap_ig_activations(
    examples: Examples, metric: Metric, *, steps: int = 5, progress: Progress = silent
) -> Float[np.ndarray, "example edge"]:
    """EAP with each source's edges taken at runs in which that source itself is moved,
    `v + (k/S)(a − v)` (Hanna et al. 2024).

    Sources of one part of one layer (an attention layer's heads) are moved together, as in the
    authors' code; unlike there, an edge gets only gradients of runs that move its own source.

    Cost: `steps` forward and backward passes per part of the network.

    Raises:
        InputError: there are no steps.
    """
    shares = _shares(steps)
    wiring = examples.wiring

    def effects(part: Part) -> Float[Tensor, "row source port"]:
        found = torch.zeros(len(part.rows), len(wiring.sources), len(wiring.ports))
        for group in wiring.source_groups:

            def at(k: int, group: tuple[int, ...] = group) -> Float[Tensor, "row source port"]:
                return wiring.linear_effects(
                    part.batch, part.changes, metric, part.rows, Moment(group, shares[k])
                )

            found[:, list(group)] = averaged_over(steps, at)[:, list(group)]
        return found

    return over_batches(examples, effects, what="EAP-IG (activations)", progress=progress)


def _shares(steps: int) -> list[float]:
    if steps < 1:
        raise InputError(
            f"{steps} steps were asked for; integrated gradients need at least 1 (5 to 30 are "
            "usual)"
        )
    return [1 - k / steps for k in range(steps)]
