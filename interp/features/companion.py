"""Companion directions: what the rest of the network looks like when a feature is on."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError
from interp.decompose.dictionary import Dictionary
from interp.features.feature import Feature

CHUNK = 8192


def companions(dictionary: Dictionary, acts: Activations, elsewhere: Activations) -> Float[Tensor, "feature d_site"]:
    """Every feature's unit direction at another site of the same run.

    Definition: `companion_f = Σ_t c_tf h_t / Σ_t c_tf − mean_t h_t`, scaled to unit norm, with `c_tf` the positive part of the feature's
    coefficient on row t of `acts` and `h_t` the same row of `elsewhere`. A feature that never fires gets a zero vector.

    Raises:
        InputError: the two recordings are not of the same rows.

    Cost: one encoding of `acts` and one product `[feature, row] @ [row, d_site]`, in chunks of rows.
    """
    _check_same_rows(acts, elsewhere)
    weighted = torch.zeros(len(dictionary), elsewhere.values.shape[1])
    total = torch.zeros(len(dictionary))
    for start in range(0, len(acts), CHUNK):
        coefficients = dictionary.encode(acts.values[start : start + CHUNK]).clamp(min=0).float()
        weighted += coefficients.T @ elsewhere.values[start : start + CHUNK].float()
        total += coefficients.sum(dim=0)
    mean = elsewhere.values.float().mean(dim=0)
    raw = torch.where(total[:, None] > 0, weighted / total.clamp(min=1e-30)[:, None] - mean, torch.zeros(()))
    return torch.nn.functional.normalize(raw, dim=1)


def companion(feature: Feature, acts: Mapping[str, Activations], site: str) -> Float[Tensor, " d_site"]:
    """One feature's unit direction at another recorded site (see `companions` for the definition).

    `acts` is what `record(model, inputs, [feature.site, site])` returned: both sites, the same rows.

    Raises:
        InputError: one of the two sites was not recorded.

    Example:
        >>> acts = interp.record(model, texts, ["L15.mlp", "L20.resid_post"])
        >>> direction = interp.companion(feature, acts, "L20.resid_post")
    """
    for needed in (feature.site, site):
        if needed not in acts:
            raise InputError(
                f"{needed!r} was not recorded, only {', '.join(acts)}; record(model, inputs, [{feature.site!r}, {site!r}]) gives both"
            )
    return companions(feature.dictionary, acts[feature.site], acts[site])[feature.index]


def _check_same_rows(acts: Activations, elsewhere: Activations) -> None:
    same = len(acts) == len(elsewhere) and bool((acts.contexts.item == elsewhere.contexts.item).all())
    if not same or not bool((acts.contexts.position == elsewhere.contexts.position).all()):
        raise InputError(f"{acts.site} and {elsewhere.site} were recorded on different rows; record both sites in one call")
