"""Checkpoints of the tiny language model on disk: one byte per weight, one scale per row."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from interp.core import InputError, UnavailableError
from interp.core.files import read_json, read_tensors, replacing
from interp.dynamics.checkpoints import Checkpoint
from interp.models import TransformerModel

RECIPE = "recipe.json"
LEVELS = 127
SCALE = "scale."


def checkpoint_path(folder: str | Path, step: int) -> Path:
    """The file of a step's weights."""
    return Path(folder) / f"step_{step:06d}.safetensors"


def checkpoint_steps(folder: str | Path) -> list[int]:
    """The steps whose weights are there, rising.

    Raises:
        UnavailableError: there are none.
    """
    steps = sorted(
        int(path.stem.removeprefix("step_")) for path in Path(folder).glob("step_*.safetensors")
    )
    if not steps:
        raise UnavailableError(
            f"{folder} holds no step_*.safetensors; train it with benchmarks/dynamics_language.py"
        )
    return steps


def quantised(
    weights: Float[Tensor, "row column"],
) -> tuple[Int8[Tensor, "row column"], Float[Tensor, " row"]]:
    """Integers from −127 to 127 and a scale per row: `weights ≈ integers · scale`, off by at most
    half a scale.
    """
    # Rounded as it will be stored, so that storing it adds no error.
    scale = (weights.abs().amax(dim=1) / LEVELS).half().float()
    scale = scale.clamp(min=torch.finfo(torch.float16).tiny)
    return (weights / scale[:, None]).round().clamp(-LEVELS, LEVELS).to(torch.int8), scale


def write_checkpoint(state: Mapping[str, Tensor], path: Path) -> None:
    """Write weights: matrices as bytes with a scale per row, vectors in half precision."""
    from safetensors.torch import save_file

    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.ndim == 2:
            integers, scale = quantised(value.detach().float())
            stored |= {name: integers, SCALE + name: scale.half()}
        else:
            stored[name] = value.detach().half()
    with replacing(path) as temporary:
        save_file(stored, temporary)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights of `write_checkpoint`, in single precision.

    Raises:
        UnavailableError: the file is missing or damaged.
    """
    _, stored = read_tensors(path, "train the run again")
    values = {name: value.float() for name, value in stored.items() if not name.startswith(SCALE)}
    return {
        name: value * stored[SCALE + name].float()[:, None] if SCALE + name in stored else value
        for name, value in values.items()
    }


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a run."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def load_checkpoint(folder: str | Path, step: int) -> TransformerModel:
    """The network at a step, with its tokenizer.

    Raises:
        InputError: the run has no such checkpoint; the message lists those it has.
        UnavailableError: a file of the run is missing or damaged.

    Cost: 0.1 s.

    Example:
        >>> load_checkpoint("data/dynamics/language", 0).generate("a person who", max_new_tokens=5)
    """
    from transformers import GPT2Config

    steps = checkpoint_steps(folder)
    if step not in steps:
        raise InputError(
            f"{folder} has no checkpoint of step {step}; there are {', '.join(map(str, steps))}"
        )
    recipe = read_json(Path(folder) / RECIPE)
    module = empty_network(GPT2Config(**recipe["architecture"]))
    module.load_state_dict(read_checkpoint(checkpoint_path(folder, step)), strict=False)
    module.tie_weights()
    return TransformerModel(module.eval(), load_tokenizer(folder), name=f"tiny-language@{step}")


def empty_network(configuration: Any) -> Any:
    """A `GPT2LMHeadModel` with weights yet to be set; global random state is left alone."""
    from transformers import GPT2LMHeadModel

    with torch.random.fork_rng(devices=[]):
        return GPT2LMHeadModel(configuration)


def language_checkpoints(folder: str | Path) -> list[Checkpoint]:
    """All checkpoints of a run, rising; none is loaded yet.

    Raises:
        UnavailableError: the recipe or a checkpoint that it lists is missing; the message names it.

    Example:
        >>> [checkpoint.step for checkpoint in language_checkpoints("data/dynamics/language")]
    """
    steps = read_json(Path(folder) / RECIPE)["steps"]
    paths = [checkpoint_path(folder, step) for step in steps]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UnavailableError(
            f"{folder} lacks {', '.join(missing)}; restore it, or train the run again"
        )
    return [Checkpoint(step, partial(load_checkpoint, folder, step)) for step in steps]
