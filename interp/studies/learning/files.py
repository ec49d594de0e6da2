"""Image runs of the page of learning dynamics, read from the files that training wrote."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from interp.core import InputError, UnavailableError
from interp.core.files import read_json
from interp.studies.learning.result import NAIVE, PLANE, SIZE_SIGNAL, ImageRun


def load_image_runs(folder: str | Path) -> list[ImageRun]:
    """The runs of a folder, a json file each, by signal and seed; sample sheets `step_*.png` lie in
    a folder of the file's name.

    A run that says it is not finished is left out, with a warning: its last step is no end of
    watching.

    Raises:
        UnavailableError: there is no such folder, or no run in it.
        InputError: a file is not a run; the message names it.

    Example:
        >>> load_image_runs("data/dynamics/shapes")
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise UnavailableError(
            f"{folder} holds no runs (*.json); train some with `interp track train --out "
            f"{folder}/run.json`"
        )
    runs = [_run(path, found) for path in paths if _finished(path, found := read_json(path))]
    if not runs:
        raise UnavailableError(f"none of {len(paths)} runs in {folder} is finished; train on")
    return sorted(runs, key=lambda run: (run.signal, run.seed))


def _finished(path: Path, found: Any) -> bool:
    if isinstance(found, dict) and found.get("finished", True) is False:
        warnings.warn(f"{path} is not finished and is left out; train it on", stacklevel=3)
        return False
    return True


def _run(path: Path, found: Any) -> ImageRun:
    wanted = {"signal", "seed", "steps", "naive", "arms", "arm_steps"}
    if not isinstance(found, dict) or not wanted <= set(found):
        lacking = ", ".join(sorted(wanted - set(found if isinstance(found, dict) else ())))
        raise InputError(
            f"{path} is no run of the shapes experiment (it lacks {lacking}); give a folder of "
            "such runs only"
        )
    naive = {
        name: np.asarray(found["naive"][name], dtype=float)
        for name in NAIVE
        if name in found["naive"]
    }
    soft = {
        axis: np.asarray(found["coordinates"][axis], dtype=float)
        for axis in PLANE
        if axis in found.get("coordinates", {})
    }
    arms = {
        arm: {str(value): np.asarray(curve, dtype=float) for value, curve in grid.items()}
        for arm, grid in found["arms"].items()
    }
    sheets = {
        int(sheet.stem.removeprefix("step_")): read_picture(sheet)
        for sheet in sorted(path.with_suffix("").glob("step_*.png"))
    }
    settings = found.get("settings", {})
    return ImageRun(
        signal=float(found["signal"]),
        seed=int(found["seed"]),
        steps=tuple(found["steps"]),
        naive=naive,
        arms=arms,
        arm_steps=tuple(found["arm_steps"]),
        soft=soft,
        sheets=sheets,
        variant=_variant(settings),
        size=float(settings.get("size", SIZE_SIGNAL)),
        checkpoints=path.with_suffix("")
        if any(path.with_suffix("").glob("step_*.safetensors"))
        else None,
    )


def read_picture(path: Path) -> UInt8[np.ndarray, "down across 3"]:
    """A picture file as bytes.

    Raises:
        UnavailableError: it is missing or no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise UnavailableError(
            f"cannot read the samples {path}: {error}; remove or restore the file"
        ) from error


def _variant(settings: Mapping[str, Any]) -> str:
    """What sets a run apart from the experiment's own: another size signal, or prompts that hide a
    concept.
    """
    size, hidden = settings.get("size", SIZE_SIGNAL), settings.get("hidden", "none")
    parts = [] if size == SIZE_SIGNAL else [f"Δsize {size:g}"]
    parts += (
        []
        if hidden == "none"
        else [f"{hidden} hidden in {100 * settings.get('hide', 0):g} % of prompts"]
    )
    return ", ".join(parts)
