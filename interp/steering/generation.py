"""Continuations of many steered cells: one forward call serves many directions and strengths."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.capture import Add
from interp.core import Progress, silent
from interp.models.adapters.decoding import Sampling
from interp.models.adapters.transformer import TransformerModel
from interp.models.protocol import Batch

ROWS_PER_CALL = 96


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One condition of generation: a vector to add at a site (or none), its strength, and the
    number of its target.
    """

    target: int | None
    site: str
    vector: Float[Tensor, " d"]
    kl: float
    sign: int
    alpha: float
    measured_kl: float
    reached: bool


@dataclass(frozen=True)
class Continuation:
    """A prompt and its continuation."""

    prompt: str
    text: str


def continuations(
    model: TransformerModel,
    cells: Sequence[Cell],
    prompts: Sequence[str],
    samples: int,
    sampling: Sampling,
    seed: int,
    *,
    progress: Progress = silent,
) -> list[tuple[Continuation, ...]]:
    """For every cell `samples` continuations of each prompt, prompt by prompt; none for a cell that
    was not reached.

    A text's random numbers depend on its prompt and sample alone, so cells are compared on the same
    draws and batches do not matter.

    Cost: one cached forward call per new token and 96 rows.
    """
    seeds = [seed * 100_003 + number for number in range(len(prompts) * samples)]
    rows = len(prompts) * samples
    result: list[tuple[Continuation, ...]] = [() for _ in cells]
    for site in dict.fromkeys(cell.site for cell in cells if cell.reached):
        here = [number for number, cell in enumerate(cells) if cell.site == site and cell.reached]
        size = max(1, ROWS_PER_CALL // rows)
        for start in range(0, len(here), size):
            group = here[start : start + size]
            texts = _generate(
                model, [cells[number] for number in group], prompts, samples, sampling, seeds
            )
            for position, number in enumerate(group):
                own = texts[position * rows : (position + 1) * rows]
                result[number] = tuple(
                    Continuation(prompts[row // samples], text) for row, text in enumerate(own)
                )
            progress(
                f"generate at {site or 'no site'}", min(start + size, len(here)), len(here), "cell"
            )
    return result


def _generate(
    model: TransformerModel,
    cells: Sequence[Cell],
    prompts: Sequence[str],
    samples: int,
    sampling: Sampling,
    seeds: Sequence[int],
) -> list[str]:
    repeated = [prompt for prompt in prompts for _ in range(samples)] * len(cells)
    prepared = model.prepare(repeated, batch_size=len(repeated), padding="left")
    batch = _in_order(prepared.batches[0])
    site = cells[0].site
    hooks = {site: Add(torch.stack([cell.vector for cell in cells]))} if site else {}
    with model.hooked(hooks):
        return model.sample(batch, sampling, list(seeds) * len(cells))


def _in_order(batch: Batch) -> Batch:
    order = np.argsort(batch.items, kind="stable")
    inputs = {key: value[torch.from_numpy(order)] for key, value in batch.inputs.items()}
    return Batch(inputs=inputs, items=batch.items[order], offsets=batch.offsets[order])
