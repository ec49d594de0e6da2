"""Which features are found again by fits from other seeds and to halves of the inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import Activations, InputError, Progress, Score, bootstrap_mean, silent
from interp.core.display.markup import MISSING, block, table
from interp.core.display.scores import axis_note, score_cells
from interp.decompose.checks import require_positive, require_rows
from interp.decompose.dictionary import Dictionary
from interp.decompose.matching import match_directions

Refit = Callable[[Activations | Tensor, int], Dictionary]
"""Activations and a seed to a dictionary: `lambda acts, seed: fit_snmf(acts, 100, seed=seed)`."""

MAX_GROUPS = 1000


@dataclass(frozen=True, eq=False, kw_only=True)
class Stability:
    """How reliably each feature of a dictionary is found again: its cosine with its partner in
    other fits.

    `seeds [feature]` is the mean over fits of the same rows from other seeds, `halves [feature]`
    over fits to either half of the inputs, `control [feature]` what matching alone gives.
    `over_seeds` and `over_halves` are means over features, with the control's. What was not
    measured is None.
    """

    seeds: Float[np.ndarray, " feature"] | None
    halves: Float[np.ndarray, " feature"] | None
    control: Float[np.ndarray, " feature"]
    over_seeds: Score | None
    over_halves: Score | None

    def _repr_html_(self) -> str:
        scores, found = [self.over_seeds, self.over_halves], [self.seeds, self.halves]
        titles = ("fits from other seeds", "fits to halves of the inputs")
        again = [
            MISSING if own is None else f"{int((own > self.control.max()).sum()):,} of {len(own):,}"
            for own in found
        ]
        rows = list(zip(titles, score_cells(scores), again, strict=True))
        header = ("found again by", "mean cosine over features", "above every feature's control")
        return block(
            "Stability",
            table(header, rows, caption=axis_note(scores)),
            about=f"of {len(self.control):,} features",
        )


@torch.no_grad()
def stability(
    fit: Refit,
    acts: Activations | Float[Tensor, "row d"],
    reference: Dictionary,
    *,
    seeds: int = 3,
    halves: bool = True,
    signed: bool = True,
    draws: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> Stability:
    """Refit from other seeds and on halves of the inputs, and look for each feature of a dictionary
    in the new fits.

    Each fit's directions are paired one to one with the reference's to the largest sum of cosines;
    a feature's number is its mean cosine with its partners, 0 without one. The control pairs the
    reference with itself after permuting each neuron's entries over the features, which keeps
    every neuron's values and breaks up their combinations.

    Args:
        fit: the method and settings that made the reference.
        acts: `[row, d]`, what the reference was fitted to. Halves split inputs, so that no text is
            in both; of a tensor, runs of rows.
        seeds: number of fits to all rows; their seeds count up from `seed`, without the
            reference's. 0 for none.
        halves: whether to fit both halves.
        signed: False counts a flipped direction as found (PCA's signs mean nothing).
        draws: number of permutations of the control.

    Raises:
        InputError: there is nothing to measure, the activations are not of the dictionary's space,
            or there are fewer than two inputs to halve.

    Source: Sharkey et al. 2022 (mean max cosine similarity), here one to one; the control is ours.
    Cost: `seeds` fits to all rows and two to half of them.

    Example:
        >>> found = stability(lambda acts, seed: fit_snmf(acts, 100, seed=seed), acts, snmf)
        >>> found.over_seeds, found.seeds[12]
    """
    if seeds < 0 or (seeds == 0 and not halves):
        raise InputError(
            f"seeds is {seeds} and halves {halves}; ask for at least one seed, or for halves"
        )
    require_positive({"draws": draws})
    require_rows(acts)
    reference.require_same_space(acts)
    others = (number for number in count(seed) if number != reference.provenance.seed)
    fresh = list(islice(others, max(seeds, 1)))
    parts = _halves(acts, seed) if halves else ()
    jobs = [*((acts, number) for number in fresh[:seeds]), *((part, fresh[0]) for part in parts)]
    found = []
    for number, (rows, own_seed) in enumerate(jobs):
        found.append(_cosines(reference.directions, fit(rows, own_seed).directions, signed))
        progress("stability", number + 1, len(jobs), "fits")
    control = _control(reference.directions, signed, draws, seed)
    again = np.mean(found[:seeds], axis=0) if seeds else None
    halved = np.mean(found[seeds:], axis=0) if halves else None
    by_chance = float(control.mean())
    return Stability(
        seeds=again,
        halves=halved,
        control=control,
        over_seeds=None if again is None else bootstrap_mean(again, seed=seed, control=by_chance),
        over_halves=None
        if halved is None
        else bootstrap_mean(halved, seed=seed, control=by_chance),
    )


def _cosines(
    reference: Float[Tensor, "feature d"], other: Float[Tensor, "other_feature d"], signed: bool
) -> Float[np.ndarray, " feature"]:
    """Each reference direction's cosine with its partner; 0 without one."""
    found = np.zeros(len(reference))
    # All-zero directions, which a fit can leave, have no cosine.
    here = torch.nonzero(reference.any(dim=1))[:, 0].cpu()
    there = torch.nonzero(other.any(dim=1))[:, 0].cpu()
    if len(here) and len(there):
        matching = match_directions(
            reference[here.to(reference.device)], other[there.to(other.device)], signed=signed
        )
        found[here.numpy()[matching.first]] = (
            matching.cosines if signed else np.abs(matching.cosines)
        )
    return found


def _control(
    reference: Float[Tensor, "feature d"], signed: bool, draws: int, seed: int
) -> Float[np.ndarray, " feature"]:
    generator = torch.Generator().manual_seed(seed)
    own = reference.cpu()
    permuted = (
        own.gather(0, torch.rand(own.shape, generator=generator).argsort(dim=0))
        for _ in range(draws)
    )
    mean: np.ndarray = np.mean([_cosines(own, one, signed) for one in permuted], axis=0)
    return mean


def _halves(
    acts: Activations | Float[Tensor, "row d"], seed: int
) -> tuple[Activations | Tensor, Activations | Tensor]:
    n_rows = len(acts)
    units = (
        acts.contexts.item
        if isinstance(acts, Activations)
        else np.arange(n_rows) * min(n_rows, MAX_GROUPS) // n_rows
    )
    names = np.unique(units)
    if len(names) < 2:
        raise InputError(
            "all rows are of one input, which cannot be halved; record more inputs, or give "
            "halves=False"
        )
    first = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    inside = np.isin(units, first)
    return _rows(acts, np.flatnonzero(inside)), _rows(acts, np.flatnonzero(~inside))


def _rows(
    acts: Activations | Float[Tensor, "row d"], rows: Int[np.ndarray, " kept"]
) -> Activations | Tensor:
    return (
        acts.take(rows)
        if isinstance(acts, Activations)
        else acts[torch.from_numpy(rows).to(acts.device)]
    )
