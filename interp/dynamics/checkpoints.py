"""Checkpoints of a training run: a step, and how to load the network at it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from interp.core import InputError, UnavailableError
from interp.models import load_model

_STEP = re.compile(r"^(?:step|checkpoint|ckpt)[-_]?0*(\d+)(?:\.safetensors)?$")


@dataclass(frozen=True)
class Checkpoint:
    """A training step, and the function that loads the network at it."""

    step: int
    load: Callable[[], Any]
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"step {self.step}"


def checkpoints_of(
    source: str | Path | Sequence[tuple[int, Callable[[], Any]]],
    *,
    steps: Sequence[int] | None = None,
    load: Callable[[Path], Any] = load_model,
) -> list[Checkpoint]:
    """The checkpoints of a folder, a hub repository, or a list of steps and functions, in rising
    order; none is loaded yet.

    A folder holds one folder or safetensors file per step: `step_000194`, `step194` or
    `checkpoint-194`. A hub repository has one revision per step, `step194`, as Pythia's do.

    Args:
        steps: by default all of a folder; required for a hub repository.
        load: turns a folder's checkpoint into a model.

    Raises:
        InputError: fewer than two checkpoints, or steps that do not rise.
        UnavailableError: a requested step is missing; the message names it.

    Example:
        >>> checkpoints_of("runs/shapes", load=load_network)
        >>> checkpoints_of(
        ...     "EleutherAI/pythia-70m",
        ...     steps=[0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000],
        ... )
    """
    if not isinstance(source, (str, Path)):
        found = [Checkpoint(step, function) for step, function in source]
    elif Path(source).is_dir():
        found = _of_folder(Path(source), load, steps)
    elif isinstance(source, str) and source.count("/") == 1 and steps is not None:
        found = [
            Checkpoint(step, partial(_revision, source, step), f"{source}@step{step}")
            for step in steps
        ]
    else:
        raise UnavailableError(
            f"{source} is no folder; give one, or a hub repository with steps=[...], or a list "
            "of (step, function)"
        )
    return checked(found)


def checked(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints as a list.

    Raises:
        InputError: fewer than two, or steps that do not rise.
    """
    steps = [checkpoint.step for checkpoint in checkpoints]
    if len(steps) < 2:
        raise InputError(f"{len(steps)} checkpoints; learning is a change, give at least two")
    wrong = [(a, b) for a, b in pairwise(steps) if a >= b]
    if wrong:
        raise InputError(
            f"step {wrong[0][1]} comes after step {wrong[0][0]}; give checkpoints in rising order, "
            "each once"
        )
    return list(checkpoints)


def shapes_of(model: Any) -> dict[str, tuple[int, ...]] | None:
    """The shape of every parameter of a model; None for a callable without parameters."""
    module = getattr(model, "module", model)
    if not hasattr(module, "named_parameters"):
        return None
    return {name: tuple(value.shape) for name, value in module.named_parameters()}


def require_alike(
    first: dict[str, tuple[int, ...]], other: dict[str, tuple[int, ...]], name: str
) -> None:
    """Require the parameters of the first checkpoint.

    Raises:
        InputError: one is missing, new, or of another shape; the message names it.
    """
    for parameter in dict.fromkeys([*first, *other]):
        if first.get(parameter) != other.get(parameter):
            raise InputError(
                f"{name}: parameter {parameter!r} is {other.get(parameter)}, in the first "
                f"checkpoint {first.get(parameter)}; give checkpoints of one network"
            )


def _of_folder(
    folder: Path, load: Callable[[Path], Any], steps: Sequence[int] | None
) -> list[Checkpoint]:
    there = {
        int(match.group(1)): path
        for path in sorted(folder.iterdir())
        if (match := _STEP.match(path.name))
    }
    wanted = sorted(there) if steps is None else list(steps)
    missing = [step for step in wanted if step not in there]
    if missing:
        near = ", ".join(str(step) for step in sorted(there)[:8])
        raise UnavailableError(
            f"{folder} has no checkpoint of step {missing[0]} ({len(missing)} missing); there are "
            f"{near} …"
        )
    return [Checkpoint(step, partial(load, there[step]), there[step].name) for step in wanted]


def _revision(repository: str, step: int) -> Any:
    from huggingface_hub import snapshot_download

    return load_model(
        snapshot_download(
            repository,
            revision=f"step{step}",
            allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"],
        )
    )
