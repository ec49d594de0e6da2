"""Public sparse autoencoders, read from the files of sae-lens, sparsify (EleutherAI) and Gemma
Scope.
"""

import hashlib
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Provenance, UnavailableError
from interp.core.files import read_json, read_tensors
from interp.core.names import require_known
from interp.decompose.sae.fit import Sae

SAE_LENS, SPARSIFY, GEMMA_SCOPE = "sae_weights.safetensors", "sae.safetensors", "params.npz"
CONFIG = "cfg.json"
# Normalisations that leave rows as they are after training; others scale each row by itself, which
# no dictionary can.
CONSTANT = ("none", "expected_average_only_in")
HOOKS = {
    "mlp.hook_post": "mlp",
    "hook_mlp_out": "mlp_out",
    "hook_attn_out": "attn_out",
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
}


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The files' contents: `gain · activation((x − b_dec) @ w_enc + b_enc)`, without the
    subtraction unless `centred`, decoded by `w_dec` and `b_dec`."""

    w_enc: Float[Tensor, "d feature"]
    b_enc: Float[Tensor, " feature"]
    w_dec: Float[Tensor, "feature d"]
    b_dec: Float[Tensor, " d"]
    threshold: Float[Tensor, " feature"]
    gain: Float[Tensor, " feature"]
    variant: str
    k: int = 0
    centred: bool = True
    site: str | None = None
    model: str | None = None


def load_public_sae(path: str | Path, site: str | None = None) -> Sae:
    """Read a public sparse autoencoder as a dictionary of unit directions; `decode(encode(x))` is
    the original's forward pass.

    Reads folders of sae-lens (`cfg.json`, `sae_weights.safetensors`; standard, topk, jumprelu and
    gated), sparsify (`cfg.json`, `sae.safetensors`) and Gemma Scope (`params.npz`, or that file
    itself). The norms of the decoder's rows become the dictionary's `gain`, so a coefficient is the
    length of the feature's contribution.

    Args:
        path: the folder of one autoencoder; nothing is downloaded.
        site: where its activations are recorded; by default the site that the files name, or, if
            they name none of ours, any site.

    Raises:
        UnavailableError: a file is missing or damaged, or a key is missing or has another shape
            than configured.
        InputError: the autoencoder is of an unsupported kind (a transcoder, rows normalised one by
            one).

    Cost: one read of the file; memory 2 × its size.

    Example:
        >>> sae = load_public_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre")
        >>> sae.encode(interp.record(model, texts, sae.site))
    """
    folder, name = _found(Path(path))
    parts = {SAE_LENS: _sae_lens, SPARSIFY: _sparsify, GEMMA_SCOPE: _gemma_scope}[name](folder)
    for key in ("w_enc", "b_enc", "w_dec", "b_dec", "threshold", "gain"):
        if not bool(torch.isfinite(getattr(parts, key)).all()):
            raise UnavailableError(
                f"{folder / name}: {key} holds values that are not finite; get the file again"
            )
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    parameters = {
        "file": name,
        "sha256": digest,
        "variant": parts.variant,
        "k": parts.k,
        "n_features": len(parts.w_dec),
    }
    return _dictionary(
        parts, Provenance("sae", parameters=parameters, model=parts.model, site=site or parts.site)
    )


def _found(path: Path) -> tuple[Path, str]:
    if path.name == GEMMA_SCOPE and path.is_file():
        return path.parent, GEMMA_SCOPE
    for name in (SAE_LENS, SPARSIFY, GEMMA_SCOPE):
        if (path / name).is_file():
            return path, name
    raise UnavailableError(
        f"{path} holds none of {SAE_LENS}, {SPARSIFY}, {GEMMA_SCOPE}; give the folder of one "
        "autoencoder"
    )


def _dictionary(parts: _Parts, provenance: Provenance) -> Sae:
    norms = parts.w_dec.norm(dim=1)
    # A feature with a zero decoder row contributes nothing, but still needs a unit direction.
    axis = torch.zeros(parts.w_dec.shape[1])
    axis[0] = 1.0
    directions = torch.where(
        norms[:, None] > 0,
        parts.w_dec / norms.clamp(min=torch.finfo(torch.float32).tiny)[:, None],
        axis,
    )
    bias = parts.b_enc if parts.centred else parts.b_enc + parts.b_dec @ parts.w_enc
    return Sae(
        directions=directions,
        offset=parts.b_dec,
        provenance=provenance,
        encoder=parts.w_enc,
        encoder_bias=bias,
        threshold=parts.threshold,
        gain=norms * parts.gain,
        variant=parts.variant,
        k=parts.k,
        trace=torch.zeros(0),
    )


def _sae_lens(folder: Path) -> _Parts:
    config = _config(folder)
    normalised = str(config.get("normalize_activations") or "none")
    if normalised not in CONSTANT:
        raise InputError(
            f"{folder / CONFIG}: normalize_activations is {normalised!r}, expected "
            f"{' or '.join(CONSTANT)}; use another one"
        )
    architecture, k = _architecture(folder, config)
    d, n = _number(folder, config, "d_in"), _number(folder, config, "d_sae")
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d, n), "W_dec": (n, d), "b_dec": (d,)}
    own = {"gated": ("b_gate", "b_mag", "r_mag"), "jumprelu": ("b_enc", "threshold")}.get(
        architecture, ("b_enc",)
    )
    scaled = ("scaling_factor",) if config.get("finetuning_scaling_factor") else ()
    tensors = _read(folder / SAE_LENS, {**shapes, **dict.fromkeys((*own, *scaled), (n,))})
    encoder, bias = tensors["W_enc"], tensors.get("b_enc")
    threshold = tensors.get("threshold", torch.zeros(n))
    if architecture == "gated":
        # The gate is a threshold on the magnitude: the two share weights up to a positive factor.
        gain = tensors["r_mag"].exp()
        encoder, bias = encoder * gain, tensors["b_mag"]
        threshold = bias - gain * tensors["b_gate"]
    assert bias is not None
    gain = tensors.get("scaling_factor", torch.ones(n))
    if config.get("rescale_acts_by_decoder_norm"):
        norms = tensors["W_dec"].norm(dim=1)
        encoder, bias, threshold = encoder * norms, bias * norms, threshold * norms
        gain = gain / norms.clamp(min=1e-30)
    metadata = config.get("metadata") or {}
    hook = config.get("hook_name") or metadata.get("hook_name")
    return _Parts(
        w_enc=encoder,
        b_enc=bias,
        w_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        threshold=threshold,
        gain=gain,
        variant="relu" if architecture == "standard" else architecture,
        k=k,
        centred=bool(config.get("apply_b_dec_to_input", True)),
        site=_site_of_hook(hook),
        model=config.get("model_name") or metadata.get("model_name"),
    )


def _architecture(folder: Path, config: Mapping[str, Any]) -> tuple[str, int]:
    """The architecture and its k, if any; older files call top-k "standard" with another activation
    function.
    """
    name = str(config.get("architecture") or "standard")
    activation = config.get("activation_fn_str", config.get("activation_fn"))
    if name == "standard" and activation == "topk":
        name = "topk"
    require_known(
        f"architecture in {folder / CONFIG}",
        name,
        ("standard", "topk", "jumprelu", "gated"),
        "no other is read",
    )
    if name != "topk":
        return name, 0
    older = config.get("activation_fn_kwargs") or {}
    return name, _number(folder, {"k": older.get("k"), **config}, "k")


def _sparsify(folder: Path) -> _Parts:
    config = _config(folder)
    for key in ("transcode", "skip_connection"):
        if config.get(key):
            raise InputError(
                f"{folder / CONFIG}: {key} is true, so it reconstructs no activations; give an "
                "autoencoder"
            )
    activation = str(config.get("activation") or "topk")
    require_known(f"activation in {folder / CONFIG}", activation, ("topk",), "no other is read")
    d, k = _number(folder, config, "d_in"), _number(folder, config, "k")
    n = config.get("num_latents") or d * _number(folder, config, "expansion_factor")
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (n, d),
        "encoder.bias": (n,),
        "W_dec": (n, d),
        "b_dec": (d,),
    }
    tensors = _read(folder / SPARSIFY, shapes)
    return _Parts(
        w_enc=tensors["encoder.weight"].T.contiguous(),
        b_enc=tensors["encoder.bias"],
        w_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        threshold=torch.zeros(n),
        gain=torch.ones(n),
        variant="topk",
        k=k,
        site=_site_of_module(folder.name),
    )


def _gemma_scope(folder: Path) -> _Parts:
    tensors = _read_npz(folder / GEMMA_SCOPE)
    shape = tuple(tensors["W_enc"].shape) if "W_enc" in tensors else ()
    d, n = shape if len(shape) == 2 else (0, 0)
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d, n),
        "W_dec": (n, d),
        "b_enc": (n,),
        "b_dec": (d,),
        "threshold": (n,),
    }
    tensors = _checked(folder / GEMMA_SCOPE, tensors, shapes)
    return _Parts(
        w_enc=tensors["W_enc"],
        b_enc=tensors["b_enc"],
        w_dec=tensors["W_dec"],
        b_dec=tensors["b_dec"],
        threshold=tensors["threshold"],
        gain=torch.ones(n),
        variant="jumprelu",
        centred=False,
    )


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise UnavailableError(
            f"{folder / CONFIG} does not describe an autoencoder; get the file again"
        )
    return config


def _number(folder: Path, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise UnavailableError(
            f"{folder / CONFIG}: {key} is {value!r}, expected a whole number above 0; get the file "
            "again"
        )
    return value


def _read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return _checked(path, read_tensors(path, "get the file again")[1], shapes)


def _checked(
    path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """The tensors of these names and shapes, in float32."""
    for key, shape in shapes.items():
        if key not in tensors:
            raise UnavailableError(
                f"{path} lacks {key}, expected {list(shape)}; it holds "
                f"{', '.join(sorted(tensors)) or 'nothing'}"
            )
        if tuple(tensors[key].shape) != shape:
            raise UnavailableError(
                f"{path}: {key} is {list(tensors[key].shape)}, expected {list(shape)}; get the "
                "files again"
            )
    return {key: tensors[key].to(torch.float32) for key in shapes}


def _read_npz(path: Path) -> dict[str, Tensor]:
    """The arrays of an archive; arrays of objects, which need pickle, are refused."""
    from numpy.lib.format import read_array

    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): torch.from_numpy(_array(archive, name, read_array))
                for name in archive.namelist()
                if name.endswith(".npy")
            }
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UnavailableError(f"cannot read {path}: {error}; get the file again") from error


def _array(archive: zipfile.ZipFile, name: str, read: Any) -> Any:
    with archive.open(name) as file:
        return read(file, allow_pickle=False)


def _site_of_hook(hook: str | None) -> str | None:
    """Our site for a hook name of TransformerLens, if there is one."""
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook or "")
    return f"L{found[1]}.{HOOKS[found[2]]}" if found and found[2] in HOOKS else None


def _site_of_module(name: str) -> str | None:
    """Our site for the output of the module that sparsify names a folder after, if any."""
    found = re.fullmatch(r"(?:.*\.)?(?:layers|h|blocks)\.(\d+)(\.mlp)?", name)
    return f"L{found[1]}.{'mlp_out' if found[2] else 'resid_post'}" if found else None
