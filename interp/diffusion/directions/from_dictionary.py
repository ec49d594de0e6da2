"""Features of a site's dictionary (semi-NMF, SAE, PCA …) as directions over steps."""

from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.decompose.dictionary import Dictionary
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.records.activations import StepActivations


def image_rows(acts: StepActivations) -> Float[Tensor, "row d"]:
    """Samples as rows over all steps, to fit a dictionary to.

    Example:
        >>> snmf = fit_snmf(image_rows(acts), 8, sparsity=0.2, seed=0)
    """
    return acts.values.flatten(1)


def dictionary_directions(
    acts: StepActivations, dictionary: Dictionary, *, count: int | None = None
) -> StepDirections:
    """The features of a dictionary of `image_rows`, each as long as its coefficients' standard
    deviation, longest first, without those that never vary (dead ones).

    Raises:
        InputError: a dictionary of another width, or without a feature that varies.

    Cost: encoding the samples.

    Example:
        >>> dictionary_directions(acts, fit_sae(image_rows(acts), 16, k=4, seed=0), count=8)
    """
    coefficients = dictionary.encode(image_rows(acts))
    lengths = coefficients.std(dim=0)
    alive = [
        int(i)
        for i in lengths.argsort(descending=True)
        if float(lengths[i]) > 1e-6 * float(lengths.max().clamp(min=1e-12))
    ]
    if not alive:
        raise InputError(
            f"no feature of the {dictionary.method} dictionary varies over these samples; fit "
            "it to them"
        )
    chosen = alive[:count]
    values = dictionary.directions[chosen] * lengths[chosen][:, None]
    return directions_like(acts, values, [f"feature {i}" for i in chosen], dictionary.method)
