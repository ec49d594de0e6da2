"""Directions on disk: a safetensors file, with what they belong to as json in its header and
beside it.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from interp.core import InputError, UnavailableError
from interp.core.files import replacing, write_json
from interp.diffusion.directions.step_directions import StepDirections

FORMAT = "interp directions 1"
_TUPLES = ("names", "steps", "timesteps")


def save_directions(directions: StepDirections, path: str | Path) -> Path:
    """Write directions atomically to the safetensors file `path`, and beside it, for readers only,
    what they are to a `.json` of the same name.

    Raises:
        InputError: the name does not end in `.safetensors`.
        UnavailableError: the file cannot be written.

    Example:
        >>> save_directions(pca, "pca.safetensors")
    """
    from safetensors.torch import save_file

    target = Path(path)
    if target.suffix != ".safetensors":
        raise InputError(
            f"{target} does not end in .safetensors; name it "
            f"{target.with_suffix('.safetensors').name}"
        )
    about = {
        item.name: getattr(directions, item.name)
        for item in fields(directions)
        if item.name != "values"
    }
    values = directions.values.detach().cpu().contiguous()
    with replacing(target) as temporary:
        save_file(
            {"values": values}, temporary, metadata={"format": FORMAT, "about": json.dumps(about)}
        )
    write_json(
        target.with_suffix(".json"), {"format": FORMAT, **about, "shape": list(values.shape)}
    )
    return target


def load_directions(path: str | Path) -> StepDirections:
    """Read directions written by `save_directions`; runs no code from the file.

    Raises:
        UnavailableError: the file is missing, damaged or holds something else.

    Example:
        >>> load_directions("pca.safetensors")["component 0"]
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(Path(path), "pt") as file:
            noted: dict[str, str] = file.metadata() or {}
            values = file.get_tensor("values") if noted.get("format") == FORMAT else None
    except (OSError, SafetensorError) as error:
        raise UnavailableError(
            f"cannot read directions from {path}: {error}; find and save them again"
        ) from error
    if values is None or values.ndim != 5:
        raise UnavailableError(
            f"{path} holds no directions of this package; give a file that `interp diffusion "
            "directions` wrote"
        )
    return StepDirections(values=values, **_about(path, noted))


def _about(path: str | Path, noted: dict[str, str]) -> dict[str, Any]:
    wanted = {item.name for item in fields(StepDirections)} - {"values"}
    try:
        about = json.loads(noted["about"])
        return {
            name: tuple(about[name]) if name in _TUPLES else about[name] for name in sorted(wanted)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UnavailableError(
            f"{path} does not say what its directions belong to ({error}); find and save them again"
        ) from error
