"""Label efficiency: the effect of a supervised direction found from few labelled samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import InputError, Progress, Score, silent
from interp.core.display import markup
from interp.core.display.scores import axis_note, score_cells
from interp.core.names import require_known
from interp.core.score import bootstrap_indices
from interp.diffusion.directions.mean_difference import mean_difference_directions
from interp.diffusion.directions.step_directions import StepDirections, random_like
from interp.diffusion.edits.straight import Edit, Rule
from interp.diffusion.images.factors import require_readable
from interp.diffusion.records.activations import StepActivations
from interp.diffusion.scores.effects import Trial

COUNTS = (5, 10, 20, 40, 100)


@dataclass(frozen=True)
class CountEffect:
    """The effect of directions from `per_side` samples a side, found among `labelled` samples.

    `effect` is the mean change, in standard deviations of the data, over draws of samples and over
    images; its control is a random direction of the same length. `ratio` divides it by the largest
    count's effect, NaN where that cannot be told from 0.
    """

    per_side: int
    labelled: int
    effect: Score
    ratio: Score


@dataclass(frozen=True, kw_only=True)
class LabelEfficiency:
    """A row per number of labelled samples; all directions have the same `length` over all steps.

    `wrong` is the share of labels permuted among samples; `dropped` counts images unreadable under
    some direction.
    """

    factor: str
    rows: tuple[CountEffect, ...]
    draws: int
    length: float
    wrong: float
    dropped: int

    def __getitem__(self, per_side: int) -> CountEffect:
        for row in self.rows:
            if row.per_side == per_side:
                return row
        raise InputError(
            f"{per_side} per side was not tried; there are "
            f"{', '.join(str(row.per_side) for row in self.rows)}"
        )

    def __str__(self) -> str:
        head = (
            f"{self.factor}: directions of length {self.length:.3g} from few labels "
            f"({self.draws} draws, {self.wrong:.0%} wrong labels)"
        )
        rows = (f"  {r.per_side:4} per side: {r.effect}  ratio {r.ratio}" for r in self.rows)
        return "\n".join([head, *rows])

    def _repr_html_(self) -> str:
        effects, ratios = [row.effect for row in self.rows], [row.ratio for row in self.rows]
        counts = [(row.per_side, row.labelled) for row in self.rows]
        rows = [
            (*own, *cells)
            for own, *cells in zip(
                counts, score_cells(effects, signed=True), score_cells(ratios), strict=True
            )
        ]
        caption = f"Effect in sd of the data: {axis_note(effects)}; ratio: {axis_note(ratios)}"
        body = markup.table(
            ("per side", "labelled", "effect", "by that of the most"), rows, caption=caption
        )
        named = [
            ("draws", self.draws),
            ("length", f"{self.length:.3g}"),
            ("wrong labels", f"{self.wrong:.0%}"),
            ("images dropped", self.dropped),
        ]
        return markup.block("Label efficiency", body, markup.facts(named), name=self.factor)


def label_efficiency(
    trial: Trial,
    acts: StepActivations,
    labels: Mapping[str, Float[Tensor, " image"]],
    factor: str,
    length: float,
    *,
    counts: Sequence[int] = COUNTS,
    draws: int = 5,
    pool: int = 4,
    wrong: float = 0.0,
    rule: Rule = "asymmetric",
    window: range | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> LabelEfficiency:
    """The effect of mean-difference directions of one length from few labelled samples, relative
    to that from the most.

    Each draw takes `pool × count` recorded samples at random; the direction is the mean of their
    top `count` minus that of their bottom `count`. Smaller counts use subsets of the larger ones'
    samples, on the same images, so ratios are paired. Intervals bootstrap draws and images at
    once; they are somewhat narrow with few draws, or with draws of nearly all samples.

    Args:
        acts: recorded samples, from other seeds than the trial's.
        labels: each factor's value per recorded sample.
        length: the length of what is added over all steps: `strength × norm` of a direction, the
            strength chosen on other seeds.
        pool: 2 uses every drawn sample (split at the median), 4 the upper and lower quarter.
        wrong: the share of labels permuted at random, anew in each draw.

    Raises:
        InputError: an unknown factor, too few recorded samples, a number out of range, or
            unreadable images.

    Source: Haas et al. 2024 (arXiv 2303.11073), section 4, for the directions. Cost: (counts ×
    draws + 1) samplings of the trial's images.

    Example:
        >>> length = float(many["x"].norms) * strength_for(chosen_on, many["x"], "x").strength
        >>> label_efficiency(trial, acts, labels, "x", length)[10].ratio
    """
    require_known("factor", factor, trial.judge.factors)
    require_known("factor", factor, tuple(labels))
    sizes = _checked(counts, draws, pool, wrong, length)
    place = trial.judge.factors.index(factor)
    known = int((~labels[factor].isnan()).sum())
    if known < pool * sizes[-1]:
        raise InputError(
            f"{known} samples have a value of {factor!r}, {pool * sizes[-1]} are needed; "
            "record more, or take a smaller pool"
        )

    def changed(direction: StepDirections) -> np.ndarray:
        return trial.changes(Edit(direction, (1.0,), rule, window))[:, place].numpy()

    tables: list[list[np.ndarray]] = [[] for _ in sizes]
    largest: StepDirections | None = None
    for draw in range(draws):
        given = {factor: _exchanged(labels[factor], wrong, [seed, draw])}
        for size, table in zip(sizes, tables, strict=True):
            found = _direction(acts, given, size, pool, seed=seed + draw).scaled(length)
            table.append(changed(found))
            largest = found
        progress("label efficiency", draw + 1, draws, "draw")
    assert largest is not None
    effects, random = np.array(tables), changed(random_like(largest, seed=seed))
    kept = ~np.isnan(effects).any(axis=(0, 1)) & ~np.isnan(random)
    require_readable(kept, "images, under every edit,", "give a smaller length")
    scores = _scores(effects[:, :, kept], float(random[kept].mean()), seed)
    rows = (CountEffect(size, pool * size, *pair) for size, pair in zip(sizes, scores, strict=True))
    return LabelEfficiency(
        factor=factor,
        rows=tuple(rows),
        draws=draws,
        length=length,
        wrong=wrong,
        dropped=int((~kept).sum()),
    )


def _checked(
    counts: Sequence[int], draws: int, pool: int, wrong: float, length: float
) -> tuple[int, ...]:
    sizes = tuple(sorted(set(counts)))
    if not sizes or sizes[0] < 1 or draws < 2 or pool < 2 or length <= 0:
        raise InputError(
            f"counts {list(counts)}, {draws} draws, pool {pool}, length {length}: give counts from "
            "1, 2 draws and a pool of 2 or more, and a positive length"
        )
    if not 0 <= wrong <= 1:
        raise InputError(f"a share of {wrong} wrong labels; give 0 to 1")
    return sizes


def _direction(
    acts: StepActivations, given: Mapping[str, Tensor], size: int, pool: int, *, seed: int
) -> StepDirections:
    kept = ~next(iter(given.values())).isnan()
    if not bool(kept.all()):
        acts = replace(acts, values=acts.values[kept], images=acts.images[kept])
        given = {name: values[kept] for name, values in given.items()}
    return mean_difference_directions(acts, given, size, sample=pool * size, seed=seed)


def _exchanged(
    label: Float[Tensor, " image"], share: float, seed: Sequence[int]
) -> Float[Tensor, " image"]:
    """Labels of which a share is permuted."""
    generator = np.random.default_rng(seed)
    known = np.flatnonzero((~label.isnan()).cpu().numpy())
    chosen = generator.permutation(known)[: round(share * len(known))]
    changed = label.clone()
    changed[torch.from_numpy(chosen)] = label[torch.from_numpy(generator.permutation(chosen))]
    return changed


def _scores(
    effects: Float[np.ndarray, "count draw image"], control: float, seed: int
) -> list[tuple[Score, Score]]:
    """Effect of every count and its ratio to the last, over the same resampled draws and images."""
    resampled = _resampled(effects, seed)
    means = effects.mean(axis=(1, 2))
    last = np.quantile(resampled[-1], [0.025, 0.975])
    sure = bool(last[0] > 0 or last[1] < 0)

    def score(value: float, values: np.ndarray, control: float) -> Score:
        return Score.of_draws(
            value,
            values,
            n=effects.shape[2],
            seed=seed,
            control=control,
            interval="bootstrap 95% over draws and images",
        )

    nothing = Score.undefined(
        seed, n=effects.shape[2], interval="none: the largest count has no effect"
    )
    scores = []
    for mean, values in zip(means, resampled, strict=True):
        ratio = (
            score(float(mean / means[-1]), values / resampled[-1], float(control / means[-1]))
            if sure
            else nothing
        )
        scores.append((score(float(mean), values, control), ratio))
    return scores


def _resampled(
    effects: Float[np.ndarray, "count draw image"], seed: int, resamples: int = 2000
) -> Float[np.ndarray, "count resample"]:
    """Means over independently resampled draws and images."""
    draws, images = (
        np.concatenate(
            [_tally(indices) for indices in bootstrap_indices(size, resamples, seed + i)]
        )
        for i, size in enumerate(effects.shape[1:])
    )
    return np.einsum("rd,cdi,ri->cr", draws, effects, images, optimize=True)


def _tally(indices: Int[np.ndarray, "resample n"]) -> Float[np.ndarray, "resample n"]:
    """How often each case was drawn, as shares."""
    n = indices.shape[1]
    # One bincount for all rows: each resample counts in a range of its own.
    offset = indices + n * np.arange(len(indices))[:, None]
    return np.bincount(offset.ravel(), minlength=n * len(indices)).reshape(len(indices), n) / n
