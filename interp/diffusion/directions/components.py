"""Unsupervised directions: principal and independent components of a site over samples."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.core.names import require_known
from interp.diffusion.directions.step_directions import StepDirections, directions_like, matched
from interp.diffusion.records.activations import StepActivations

Mode = Literal["joint", "per_step"]


def pca_directions(
    acts: StepActivations, count: int = 10, *, mode: Mode = "joint"
) -> StepDirections:
    """Principal components over samples, each as long as the samples' standard deviation along it,
    so that strength 1 is one standard deviation.

    `joint`: of all steps as one long vector. `per_step`: of each step separately, matched (with
    signs) to those of the step before by the correlation of the samples' coordinates, as the order
    by variance changes.

    Raises:
        InputError: as many components as samples or more, or activations that do not vary.

    Source: Haas et al. 2024 (arXiv 2303.11073), section 3.1, without the matching. Cost: one
    eigendecomposition of a `[sample, sample]` matrix, or one per step.

    Example:
        >>> pca_directions(acts, 10).norms
    """
    require_known("mode", mode, ("joint", "per_step"))
    if not 0 < count < len(acts):
        raise InputError(
            f"{count} components of {len(acts)} samples were asked for; give 1 to {len(acts) - 1}"
        )
    names = [f"component {i}" for i in range(count)]
    if mode == "joint":
        return directions_like(acts, _principal(acts.values.flatten(1), count)[1], names, "pca")
    found: list[Tensor] = []
    before: Tensor | None = None
    for step in range(acts.values.shape[1]):
        places, rows = _principal(acts.values[:, step].flatten(1), count)
        if before is not None:
            unit = [values / values.norm(dim=0) for values in (before, places)]
            order, signs = matched(unit[0].T @ unit[1])
            places, rows = places[:, order] * signs, rows[order] * signs[:, None]
        before = places
        found.append(rows)
    return directions_like(acts, torch.stack(found, dim=1), names, "pca per step")


def ica_directions(acts: StepActivations, count: int = 4, *, seed: int = 0) -> StepDirections:
    """Independent components within the leading principal components of all steps together, each as
    long as its source's standard deviation.

    `h = mean + sources @ directions`, with sources made independent by a rotation of the whitened
    principal coordinates (FastICA, Hyvärinen 1999; its cubic contrast suits evenly spread factors).
    Principal components mix factors of similar variance arbitrarily; independence fixes the
    rotation.

    Raises:
        InputError: as `pca_directions`, or the rotation does not converge.

    Cost: that of `pca_directions`, and a few passes over `[sample, count]`.

    Example:
        >>> ica_directions(acts, 4)
    """
    import warnings

    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning as NotConverged

    if not 0 < count < len(acts):
        raise InputError(
            f"{count} components of {len(acts)} samples were asked for; give 1 to {len(acts) - 1}"
        )
    places, rows = _principal(acts.values.flatten(1), count)
    unit = (places / places.std(dim=0, correction=0)).double().numpy()
    ica = FastICA(whiten=False, fun="cube", max_iter=2000, tol=1e-5, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotConverged)
        try:
            ica.fit(unit)
        except NotConverged as error:
            raise InputError(
                f"{count} independent components of {len(acts)} samples were not found; record "
                "more, or take fewer"
            ) from error
    mixing = torch.from_numpy(np.ascontiguousarray(ica.mixing_.T)).to(rows)
    return directions_like(acts, mixing @ rows, [f"source {i}" for i in range(count)], "ica")


def _principal(
    rows: Float[Tensor, "sample d"], count: int
) -> tuple[Float[Tensor, "sample direction"], Float[Tensor, "direction d"]]:
    """The samples' coordinates, and directions one standard deviation long, from the samples' Gram
    matrix (samples are few, d is large).
    """
    centred = rows.double() - rows.double().mean(dim=0)
    squares, vectors = torch.linalg.eigh(centred @ centred.T)
    sizes = squares.flip(0)[:count].clamp(min=0).sqrt()
    if float(sizes[-1]) <= 1e-6 * float(sizes[0]) or float(sizes[0]) == 0:
        raise InputError(
            f"the activations vary along fewer than {count} directions; ask for fewer components"
        )
    places = vectors.flip(1)[:, :count]
    directions = places.T @ centred / (len(rows) - 1) ** 0.5
    # The decomposition leaves the sign open: make the largest entry positive.
    signs = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)).sign()
    return (places * sizes * signs.T).to(rows), (directions * signs).to(rows)
