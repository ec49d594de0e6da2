"""Sparse autoencoders as folders of SAELens, for that package and the tools built on it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.core import InputError, Provenance, UnavailableError
from interp.core.files import read_json, replacing_folder, write_json
from interp.decompose.dictionary import Dictionary
from interp.decompose.sae.fit import Sae
from interp.decompose.sae.public import CONFIG, HOOKS, SAE_LENS, load_public_sae

# Our entry in the metadata; SAELens keeps unknown entries.
PROVENANCE = "interp_provenance"
# Without this entry SAELens takes the configuration for an older one and drops its metadata.
VERSION = "6.0.0"
HOLDS = "that format holds only rectified sparse autoencoders"


def save_saelens(
    dictionary: Dictionary, folder: str | Path, *, hook_name: str | None = None
) -> None:
    """Write a sparse autoencoder as a folder of SAELens: `cfg.json` and `sae_weights.safetensors`.

    There `coefficients = activation((acts − b_dec) @ W_enc + b_enc)` and
    `acts ≈ coefficients @ W_dec + b_dec`, with

        W_enc = encoder, b_enc = encoder_bias, b_dec = offset, W_dec[f] = gain[f]·directions[f].

    The activation is "topk" for the variant "topk", "standard" (ReLU) for "relu" without
    thresholds, and otherwise "jumprelu" with the dictionary's thresholds, which trained batch-top-k
    and tied gated autoencoders equal row by row (see `Sae`). `load_saelens` reads back a dictionary
    that encodes and decodes the same; its variant is then "jumprelu", and `k` is 0 where the
    activation has none.

    Args:
        dictionary: from `fit_sae`, `sweep_sae` or `load_public_sae`.
        folder: new, empty, or written by an earlier call.
        hook_name: TransformerLens's name for a site that has none here (a head, a module, a UNet's
            site).

    Raises:
        InputError: the dictionary is not a sparse autoencoder, its site has no hook name, a gain is
            negative, or the folder contains something else.
        UnavailableError: the folder cannot be written.

    Source: SAELens 6 (Bloom, Tigges, Duong & Chanin 2024), its `SAE.load_from_disk`. Cost: one
    write; memory 2 × the parameters.

    Example:
        >>> save_saelens(interp.fit_sae(acts, 400, k=8), "sea")
        >>> sae_lens.SAE.load_from_disk("sea")
    """
    from safetensors.torch import save_file

    sae = _require_rectified(dictionary)
    hook = hook_name or _hook_of_site(sae.site)
    architecture = _architecture(sae)
    with replacing_folder(Path(folder), SAE_LENS) as temporary:
        save_file(_tensors(sae, architecture), temporary / SAE_LENS)
        write_json(temporary / CONFIG, _config(sae, architecture, hook))


def load_saelens(folder: str | Path, site: str | None = None) -> Sae:
    """Read a folder of SAELens; one that `save_saelens` wrote comes back with its provenance.

    For any other folder it is `load_public_sae`, with the same arguments. The provenance keeps the
    file's name and sha256.

    Raises:
        UnavailableError: a file is missing or damaged, or does not fit the configuration.
        InputError: the autoencoder is of an unsupported kind.

    Cost: one read of the file; memory 2 × its size.

    Example:
        >>> load_saelens("sea").encode(acts)
    """
    sae = load_public_sae(folder, site)
    metadata = (
        read_json(Path(folder) / CONFIG).get("metadata")
        if (Path(folder) / SAE_LENS).is_file()
        else None
    )
    noted = metadata.get(PROVENANCE) if isinstance(metadata, dict) else None
    if noted is None:
        return sae
    made = _provenance(Path(folder), noted)
    parameters = {
        **made.parameters,
        "file": SAE_LENS,
        "sha256": sae.provenance.parameters["sha256"],
    }
    return replace(sae, provenance=replace(made, parameters=parameters, site=site or made.site))


def _require_rectified(dictionary: Dictionary) -> Sae:
    if not isinstance(dictionary, Sae):
        why = {
            "snmf": (
                "a semi-NMF encodes by non-negative least squares, which no encoder matrix does"
            ),
            "pca": "principal components have signed coefficients",
        }.get(dictionary.method, f"a dictionary of {dictionary.method} has no rectified encoder")
        raise InputError(
            f"{why}, and {HOLDS}; keep it whole with `save`, or fit_sae at the same site"
        )
    negative = dictionary.gain.lt(0).nonzero()
    if len(negative):
        feature = int(negative[0])
        gain = float(dictionary.gain[feature])
        raise InputError(
            f"gain of feature {feature} is {gain:.3g}, expected at least 0; turn its direction "
            "round instead"
        )
    return dictionary


def _architecture(sae: Sae) -> str:
    if sae.variant == "topk":
        return "topk"
    return "standard" if sae.variant == "relu" and not bool(sae.threshold.any()) else "jumprelu"


def _tensors(sae: Sae, architecture: str) -> dict[str, Tensor]:
    tensors = {
        "W_enc": sae.encoder,
        "b_enc": sae.encoder_bias,
        "W_dec": sae.gain[:, None] * sae.directions,
        "b_dec": sae.offset,
    }
    if architecture == "jumprelu":
        tensors["threshold"] = sae.threshold
    return {
        name: value.detach().to("cpu", torch.float32).contiguous()
        for name, value in tensors.items()
    }


def _config(sae: Sae, architecture: str, hook: str | None) -> dict[str, Any]:
    features, width = sae.directions.shape
    own = {"k": sae.k, "rescale_acts_by_decoder_norm": False} if architecture == "topk" else {}
    metadata = {
        "sae_lens_version": VERSION,
        "model_name": sae.provenance.model,
        "hook_name": hook,
        PROVENANCE: sae.provenance.to_dict(),
    }
    return {
        "architecture": architecture,
        "d_in": width,
        "d_sae": features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        **own,
        "metadata": metadata,
    }


def _hook_of_site(site: str) -> str | None:
    """TransformerLens's name for a site; None for a dictionary of bare rows."""
    if not site:
        return None
    layer, _, place = site.partition(".")
    names = {ours: theirs for theirs, ours in HOOKS.items()}
    if not (layer[:1] == "L" and layer[1:].isdecimal() and place in names):
        raise InputError(
            f"site {site!r} has no hook name of TransformerLens, which cfg.json needs; give one as "
            "hook_name"
        )
    return f"blocks.{layer[1:]}.{names[place]}"


def _provenance(folder: Path, noted: Any) -> Provenance:
    try:
        return Provenance.from_dict(noted)
    except TypeError as error:
        raise UnavailableError(
            f"{folder / CONFIG}: {PROVENANCE} cannot be read: {error}; remove that entry or save "
            "again"
        ) from error
