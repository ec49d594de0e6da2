"""Directions by the name of their method."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor

from interp.core.names import require_known
from interp.decompose.sae.fit import fit_sae
from interp.decompose.snmf.fit import fit_snmf
from interp.diffusion.directions.components import ica_directions, pca_directions
from interp.diffusion.directions.from_dictionary import dictionary_directions, image_rows
from interp.diffusion.directions.jacobian import jacobian_directions
from interp.diffusion.directions.mean_difference import mean_difference_directions
from interp.diffusion.directions.noiseclr import contrastive_directions
from interp.diffusion.directions.regression import regression_directions
from interp.diffusion.directions.step_directions import StepDirections, random_like
from interp.diffusion.records.activations import StepActivations
from interp.models import UNetModel

Method = Literal[
    "regression", "mean difference", "pca", "ica", "snmf", "sae", "noiseclr", "jacobian", "random"
]
METHODS: tuple[Method, ...] = get_args(Method)
SUPERVISED: tuple[Method, ...] = ("regression", "mean difference")
UNLABELLED: tuple[Method, ...] = ("noiseclr", "jacobian")
"""Methods that run the network without labels."""

JACOBIAN_ITERATIONS = 4
"""Few are enough, as each step starts from the vectors of the step before."""


def find_directions(
    method: Method,
    model: UNetModel,
    acts: StepActivations,
    factors: Mapping[str, Float[Tensor, " image"]],
    *,
    count: int = 4,
    per_side: int = 60,
    iterations: int = 60,
    seed: int = 0,
) -> StepDirections:
    """`count` directions of a site by one method; supervised ones give one per factor, named after
    it.

    Args:
        factors: each recorded image's values, for the supervised methods.
        per_side: labelled samples on either side of a mean difference, at most a third of all.
        iterations: of semi-NMF and NoiseCLR; the SAE takes five times as many steps.

    Raises:
        InputError: an unknown method, or as the method.

    Cost: that of the method.

    Example:
        >>> find_directions("ica", model, acts, {}, count=4)
    """
    require_known("method", method, METHODS)
    rows = image_rows(acts)
    makers: dict[str, Callable[[], StepDirections]] = {
        "regression": lambda: regression_directions(acts, factors),
        "mean difference": lambda: mean_difference_directions(
            acts, factors, max(1, min(per_side, len(acts) // 3))
        ),
        "pca": lambda: pca_directions(acts, count),
        "ica": lambda: ica_directions(acts, count, seed=seed),
        "snmf": lambda: dictionary_directions(
            acts,
            fit_snmf(rows, 2 * count, sparsity=0.2, max_iterations=iterations, seed=seed),
            count=count,
        ),
        "sae": lambda: dictionary_directions(
            acts,
            fit_sae(rows, 4 * count, k=4, steps=5 * iterations, batch_size=128, seed=seed),
            count=count,
        ),
        "noiseclr": lambda: contrastive_directions(
            model, acts, count, iterations=iterations, seed=seed
        ),
        "jacobian": lambda: jacobian_directions(
            model,
            count,
            seed=seed,
            steps=acts.total,
            site=acts.site,
            most_iterations=JACOBIAN_ITERATIONS,
        ),
        "random": lambda: random_like(
            pca_directions(acts, min(count, len(acts) - 1)), count, seed=seed
        ),
    }
    return makers[method]()
