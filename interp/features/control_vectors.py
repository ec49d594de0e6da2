"""Directions for other programs, as safetensors files or as GGUF control vectors of llama.cpp."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, UnavailableError
from interp.core.files import read_tensors, replacing
from interp.features.feature import Feature

ARCHITECTURE = "controlvector"
NOTE = "interp"


@dataclass(frozen=True)
class ControlVector:
    """What llama.cpp adds to the residual stream at every token: `vectors` from a site
    `L{i}.resid_post` to `[d]`.

    `model_hint` is the model's architecture as the file names it (llama.cpp does not check it).
    """

    vectors: Mapping[str, Float[Tensor, " d"]]
    model_hint: str


def save_directions(features: Sequence[Feature], path: str | Path) -> None:
    """Write features' unit directions to one safetensors file, as a float32 tensor `[d]` under each
    feature's id.

    The metadata holds, as json under "interp", each one's site, label, index and the provenance of
    its dictionary: `safetensors.torch.load_file` gives the tensors, `load_directions` also sites.

    Raises:
        InputError: there are no features, or two have the same id.
        UnavailableError: the file cannot be written.

    Cost: one write of `4·Σ d` bytes.

    Example:
        >>> save_directions(features[:10], "directions.safetensors")
        >>> safetensors.torch.load_file("directions.safetensors")["snmf-3"]
    """
    from safetensors.torch import save_file

    ids = [feature.id for feature in features]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if not ids or twice:
        named = f"features {', '.join(twice)} appear twice"
        raise InputError(
            f"{named if twice else 'there are no features to write'}; give every feature once, "
            "those of two dictionaries in two files"
        )
    note = {
        feature.id: {
            "site": feature.site,
            "label": feature.label,
            "index": feature.index,
            "provenance": feature.dictionary.provenance.to_dict(),
        }
        for feature in features
    }
    tensors = {feature.id: _plain(feature.direction) for feature in features}
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={NOTE: json.dumps(note, ensure_ascii=False)})


def load_directions(path: str | Path) -> dict[str, tuple[str, Float[Tensor, " d"]]]:
    """The site and unit vector of every direction that `save_directions` wrote, by feature id.

    Raises:
        UnavailableError: the file is missing or damaged, or was not written by `save_directions`.

    Example:
        >>> site, direction = load_directions("directions.safetensors")["snmf-3"]
        >>> with interp.steer(model, direction, site=site, alpha=4.0):
        ...     model.generate("I think that")
    """
    about, tensors = read_tensors(path, "write them again with save_directions", "directions")
    try:
        note = json.loads(about.get(NOTE, "{}"))
        return {name: (str(note[name]["site"]), tensor) for name, tensor in tensors.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            f"cannot read directions from {path}: {error!r}; write them again with save_directions"
        ) from error


def save_control_vector(
    vectors: Mapping[str, Float[Tensor, " d"]], path: str | Path, *, model_hint: str
) -> None:
    """Write a GGUF control vector, which llama.cpp adds to the residual stream:
    `llama-cli -m model.gguf --control-vector FILE`.

    A vector is added as it is, to every token: multiply a unit direction by a strength, or use
    `--control-vector-scaled FILE:STRENGTH`. Only the residual stream can be changed; for a feature
    of another site take its `interp.companion` there.

    Layers: llama.cpp, which counts blocks from 0 too, adds `direction.N` to the output of block N,
    after its MLP: at `L{N}.resid_post`, which is `L{N+1}.resid_pre`. Its loader refuses
    `direction.0`; `resid_mid` has no counterpart. Measured on SmolLM2-135M in float32: the file
    changes llama.cpp's logits as the same addition changes those of transformers (correlation
    1.0000 at blocks 1, 12, 20, 27, 28, 29; below 0.96 one block off). In a 4-bit file the rounding
    of activations hides small vectors.

    Args:
        vectors: from a site to its vector `[d]`, d the model's width; one per place.
        path: ends in `.gguf`.
        model_hint: the model's architecture as GGUF names it ("llama", "gpt2", "gemma3"), a note
            that llama.cpp does not check.

    Raises:
        InputError: there are no vectors, llama.cpp cannot change a site, two vectors are for one
            place, they differ in width, or one is not finite.
        UnavailableError: the file cannot be written.

    Source: llama.cpp, `common_control_vector_load_one` (common/common.cpp) and
    `llama_adapter_cvec::apply` (src/llama-adapter.cpp); Vogel 2024 (repeng), who defined the file.
    Cost: one write of `4·site·d` bytes.

    Example:
        >>> vectors = {"L15.resid_post": 4.0 * interp.companion(feature, acts, "L15.resid_post")}
        >>> save_control_vector(vectors, "sea.gguf", model_hint="llama")
    """
    from gguf import GGUFWriter

    by_layer = _by_layer(vectors)
    if Path(path).suffix != ".gguf":
        raise InputError(
            f"{path} does not end in .gguf, by which llama.cpp's users know such a file; give "
            "another name"
        )
    with replacing(Path(path)) as temporary:
        writer = GGUFWriter(temporary, ARCHITECTURE)
        try:
            writer.add_string(f"{ARCHITECTURE}.model_hint", model_hint)
            writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(by_layer))
            for layer, vector in sorted(by_layer.items()):
                writer.add_tensor(f"direction.{layer}", vector.numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def load_control_vector(path: str | Path) -> ControlVector:
    """Read a GGUF control vector, this package's or another's (repeng, llama.cpp's
    cvector-generator).

    Raises:
        UnavailableError: the file is missing, damaged or no control vector: another architecture, a
            name other than `direction.N` with N from 1, or a tensor that is not `[d]` of float32.

    Cost: one read.

    Example:
        >>> load_control_vector("sea.gguf").vectors["L15.resid_post"]
    """
    reader = _reader(Path(path))
    architecture = _text(reader, "general.architecture")
    if architecture != ARCHITECTURE:
        raise UnavailableError(
            f"{path} is a GGUF file of {architecture!r}, expected {ARCHITECTURE!r}; give a control "
            "vector's file"
        )
    vectors = {}
    for tensor in reader.tensors:
        found = re.fullmatch(r"direction\.([1-9]\d*)", str(tensor.name))
        if not found or tensor.data.dtype != np.float32 or tensor.data.ndim != 1:
            what = f"{tensor.name} {list(tensor.data.shape)} of {tensor.data.dtype}"
            raise UnavailableError(
                f"{path} holds {what}, expected direction.N, N from 1, [d] of float32; write it "
                "again"
            )
        vectors[f"L{found[1]}.resid_post"] = torch.from_numpy(np.array(tensor.data))
    return ControlVector(vectors, _text(reader, f"{ARCHITECTURE}.model_hint"))


def _plain(vector: Tensor) -> Float[Tensor, " d"]:
    return vector.detach().to("cpu", torch.float32).contiguous().clone()


def _by_layer(vectors: Mapping[str, Tensor]) -> dict[int, Float[Tensor, " d"]]:
    if not vectors:
        raise InputError("there are no vectors to write; give at least one site with its vector")
    by_layer: dict[int, Tensor] = {}
    for site, vector in vectors.items():
        layer = _layer(site)
        if layer in by_layer:
            raise InputError(
                f"two vectors are for the output of block {layer} ({site!r} is the second); add "
                "them and give the sum"
            )
        if not bool(torch.isfinite(vector).all()):
            raise InputError(
                f"the vector at {site!r} holds values that are not finite; compute it again"
            )
        by_layer[layer] = _plain(vector)
    widths = sorted({len(vector) for vector in by_layer.values()})
    if len(widths) > 1:
        raise InputError(
            f"the vectors are {' and '.join(map(str, widths))} wide; expected the model's one width"
        )
    return by_layer


def _layer(site: str) -> int:
    """The block to whose output llama.cpp adds a vector for this site."""
    found = re.fullmatch(r"L(\d+)\.resid_(pre|post)", site)
    if not found:
        raise InputError(
            f"site {site!r} is not one llama.cpp can add to, which are L{{i}}.resid_post; use "
            "interp.companion(feature, acts, that site)"
        )
    layer = int(found[1]) - (found[2] == "pre")
    if layer < 1:
        raise InputError(
            f"site {site!r} comes before the output of block 1, the first that llama.cpp can "
            "change; use L1.resid_post or later"
        )
    return layer


def _reader(path: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (OSError, ValueError, IndexError) as error:
        raise UnavailableError(
            f"cannot read {path} as GGUF: {error}; give a control vector's file"
        ) from error


def _text(reader: Any, key: str) -> str:
    field = reader.get_field(key)
    return "" if field is None else str(field.contents())
