"""Companion directions: how another site's activations change when a feature is on."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError
from interp.decompose.checks import column_mean, require_finite, row_chunks
from interp.decompose.dictionary import Dictionary
from interp.features.feature import Feature

TINY = 1e-30


def companions(
    dictionary: Dictionary,
    acts: Activations,
    elsewhere: Activations,
    *,
    coefficients: Float[Tensor, "row feature"] | None = None,
) -> Float[Tensor, "feature d_site"]:
    """Every feature's unit direction at another site of the same run.

    Definition: `companion_f = Σ_t c_tf h_t / Σ_t c_tf − mean_t h_t`, scaled to unit norm, with
    `c_tf` the positive part of the feature's coefficient on row t of `acts` and `h_t` the same row
    of `elsewhere`. A feature that never fires gets a zero vector. `coefficients` of `acts`, where
    known, save the encoding.

    Raises:
        InputError: `acts` are not of the dictionary's site, the recordings differ in rows, or a
            value is not finite.

    Source: ours; the weighted mean of a soft assignment (Bishop 2006, eq. 9.17), with a feature's
    coefficients as responsibilities.

    Cost: one encoding of `acts` and one product `[feature, row] @ [row, d_site]`, in chunks of
    rows.
    """
    _check_same_rows(acts, elsewhere)
    require_finite(elsewhere)
    encoded = dictionary.encoded(acts, coefficients)
    mean = column_mean(elsewhere.values)
    weighted = torch.zeros(len(dictionary), elsewhere.values.shape[1])
    total = torch.zeros(len(dictionary))
    for rows, there in row_chunks(elsewhere.values):
        weights = encoded[rows].clamp(min=0).cpu()
        # Centred first: a site's mean can be a hundred times longer than what sets features apart.
        weighted += weights.T @ (there - mean)
        total += weights.sum(dim=0)
    return torch.nn.functional.normalize(weighted / total.clamp(min=TINY)[:, None], dim=1)


def companion(
    feature: Feature, acts: Mapping[str, Activations], site: str
) -> Float[Tensor, " d_site"]:
    """One feature's unit direction at another recorded site, as `companions` defines it.

    `acts` is the result of `record(model, inputs, [feature.site, site])`.

    Raises:
        InputError: one of the two sites was not recorded.

    Example:
        >>> acts = interp.record(model, texts, ["L15.mlp", "L20.resid_post"])
        >>> direction = interp.companion(feature, acts, "L20.resid_post")
    """
    if not isinstance(acts, Mapping):
        raise InputError(
            f"acts is {type(acts).__name__}, expected both sites by name; record(model, inputs, "
            f"[{feature.site!r}, {site!r}]) gives them"
        )
    for needed in (feature.site, site):
        if needed not in acts:
            raise InputError(
                f"{needed!r} was not recorded, only {', '.join(acts)}; record(model, inputs, "
                f"[{feature.site!r}, {site!r}]) gives both"
            )
    return companions(feature.dictionary, acts[feature.site], acts[site])[feature.index]


def _check_same_rows(acts: Activations, elsewhere: Activations) -> None:
    here, there = acts.contexts, elsewhere.contexts
    pairs = ((here.item, there.item), (here.position, there.position), (here.step, there.step))
    if here.items != there.items or not all(np.array_equal(one, other) for one, other in pairs):
        raise InputError(
            f"{acts.site} and {elsewhere.site} were recorded on different rows; record both sites "
            "in one call"
        )
