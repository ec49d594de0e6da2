"""Reads image runs from the files that training wrote."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from interp.core import UnavailableError
from interp.testbeds.concepts.run import ConceptRun, load_concept_run


def load_image_runs(folder: str | Path) -> list[ConceptRun]:
    """The runs of a folder (a json file each) by signal and seed, with sample sheets `step_*.png`
    from the folder of the file's name.

    An unfinished run is left out, with a warning.

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
    runs = [
        _with_sheets(run, path) for path in paths if _finished(path, run := load_concept_run(path))
    ]
    if not runs:
        raise UnavailableError(f"none of {len(paths)} runs in {folder} is finished; train on")
    return sorted(runs, key=lambda run: (run.signal, run.seed))


def _finished(path: Path, run: ConceptRun) -> bool:
    if not run.finished:
        warnings.warn(f"{path} is not finished and is left out; train it on", stacklevel=3)
    return run.finished


def _with_sheets(run: ConceptRun, path: Path) -> ConceptRun:
    found = sorted(path.with_suffix("").glob("step_*.png"))
    sheets = {int(sheet.stem.removeprefix("step_")): read_picture(sheet) for sheet in found}
    return replace(run, sheets=sheets)


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
