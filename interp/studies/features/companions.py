"""The file of companion directions: one matrix per method, and their site."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.core.files import read_tensors, replacing

COMPANIONS = "companions.safetensors"
FORMAT = "interp companions 1"


def save_companions(
    path: str | Path, companions: Mapping[str, Float[Tensor, "feature d_site"]], site: str
) -> None:
    """Write companion directions by method, whole or not at all.

    One float32 tensor `[feature, d_site]` per method; the site is in the file's metadata. A row of
    zeros is a feature without a companion (it never fired).

    Args:
        path: the file; `companions.safetensors` in a report's folder.
        companions: what `interp.companions` gave for each dictionary.
        site: the site of all of them.

    Raises:
        InputError: there are none, or a value is not finite.
        UnavailableError: the file cannot be written.

    Cost: one write of `4·Σ feature·d_site` bytes.

    Example:
        >>> save_companions(
        ...     "report/companions.safetensors",
        ...     {"snmf": interp.companions(snmf, here, there)},
        ...     there.site,
        ... )
    """
    from safetensors.torch import save_file

    if not companions:
        raise InputError("there are no companions to write; give those of one dictionary at least")
    for method, directions in companions.items():
        if not bool(torch.isfinite(directions).all()):
            raise InputError(
                f"the companions of {method} hold values that are not finite; compute them again"
            )
    tensors = {
        method: directions.detach().float().cpu().contiguous()
        for method, directions in companions.items()
    }
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={"format": FORMAT, "site": site})


def load_companions(path: str | Path) -> tuple[dict[str, Float[Tensor, "feature d_site"]], str]:
    """Companion directions by method, and their site, as `save_companions` wrote them.

    Raises:
        UnavailableError: the file is missing or damaged.
        InputError: it is a safetensors file of something else.

    Example:
        >>> directions, site = load_companions("report/companions.safetensors")
    """
    note, tensors = read_tensors(path, "make the report again")
    if note.get("format") != FORMAT or "site" not in note:
        raise InputError(
            f"{path} is of format {note.get('format')!r}, expected {FORMAT!r}; make the report "
            "again with this version"
        )
    return tensors, note["site"]
