"""The interchange test: how much of what makes an image goes through a site?

Two images are sampled, then one again with the other's values at the site at every step. If a
factor follows, the site carries it; that a probe reads it there would not show that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, Score, bootstrap_statistic, silent
from interp.core.display.markup import block, facts, foreign, table
from interp.core.display.scores import axis_note, score_cells
from interp.diffusion.images.factors import Reader, factor_table, require_readable
from interp.diffusion.records.activations import StepActivations, checked_window, record_sites
from interp.diffusion.sampling.ddim import BATCH, STEPS, batches, sample_batch, unclipped
from interp.diffusion.sampling.labels import Labels
from interp.models import Call, Hook, UNetModel


@dataclass(frozen=True)
class Transfer:
    """How much of one factor moves with the site's values at the steps of one window.

    `slope` is that of (f_out − f_A) on (f_B − f_A) over pairs: 1 where the site carries the factor,
    0 where it does not. Its control uses the values of a third image in place of B's: B's slope
    with the third's own factor accounted for.
    """

    factor: str
    window: range
    slope: Score


@dataclass(frozen=True, kw_only=True)
class Interchange:
    """The test's table: a row per window and factor.

    `unchanged` is the largest change of an image when its own values are put back (0 if the test is
    sound); `dropped` counts pairs with an unreadable factor.
    """

    rows: tuple[Transfer, ...]
    sites: tuple[str, ...]
    steps: int
    dropped: int
    unchanged: float

    def __getitem__(self, factor: str) -> Score:
        for row in self.rows:
            if row.factor == factor and len(row.window) == self.steps:
                return row.slope
        raise InputError(
            f"no factor {factor!r} was read; there are "
            f"{', '.join(dict.fromkeys(row.factor for row in self.rows))}"
        )

    def at(self, window: range) -> dict[str, Score]:
        """The scores of one window by factor."""
        return {row.factor: row.slope for row in self.rows if row.window == window}

    def __str__(self) -> str:
        head = (
            f"interchange at {', '.join(self.sites)} ({self.steps} steps, {self.dropped} pairs "
            f"dropped, self {self.unchanged:.1e})"
        )
        rows = (f"  steps {_words(r.window):7} {r.factor:10} {r.slope}" for r in self.rows)
        return "\n".join([head, *rows])

    def _repr_html_(self) -> str:
        slopes = [row.slope for row in self.rows]
        named = [(_words(row.window), foreign(row.factor)) for row in self.rows]
        rows = [
            (*own, cell, slope.n)
            for own, cell, slope in zip(named, score_cells(slopes), slopes, strict=True)
        ]
        body = table(
            ("steps", "factor", "slope", "pairs"),
            rows,
            caption=f"1: the site carries the factor, 0: it does not ({axis_note(slopes)})",
        )
        about = [
            ("steps", self.steps),
            ("pairs dropped", self.dropped),
            ("an image with its own values changes by", f"{self.unchanged:.1e}"),
        ]
        return block("Interchange", body, facts(about), name=", ".join(self.sites))


def interchange(
    model: UNetModel,
    read: Reader,
    *,
    sites: Sequence[str] = ("mid",),
    pairs: int = 256,
    seed: int = 0,
    steps: int = STEPS,
    windows: Sequence[range] = (),
    labels: Labels | None = None,
    batch_size: int = BATCH,
    progress: Progress = silent,
) -> Interchange:
    """Replace sites' values in image A by those of image B at every step, and see which factors
    follow.

    Slopes are least squares with an intercept, over `pairs` pairs of fresh seeds, with intervals
    bootstrapped over pairs. Besides the whole run, each of `windows` is tested alone (outside it
    the sites are A's own). With `labels`, A, B and the third image share one, so the test is only
    of what noise decides.

    Raises:
        InputError: an unknown site, a window beyond the steps, fewer than 8 readable pairs, or no
            factor that varies.

    Cost: (6 + 2 × windows) × pairs × steps evaluations of the UNet; memory for three times the
    values of every site.

    Example:
        >>> interchange(model, read_shapes, pairs=256, seed=0)["radius"]
    """
    tested = [range(steps), *(checked_window(window, steps) for window in windows)]
    model = unclipped(model)
    runs = [
        record_sites(
            model,
            pairs,
            sites,
            seed=3 * seed + i,
            steps=steps,
            labels=labels,
            batch_size=batch_size,
        )
        for i in range(3)
    ]
    base, other, third = ([run[site] for site in sites] for run in runs)
    factors = [factor_table(read, run[0].images) for run in (base, other, third)]
    done, total = 3, 4 + 2 * len(tested)
    progress("interchange", done, total, "run")
    swap = _Swapper(
        model=model, seed=base[0].seed, steps=steps, labels=labels, batch_size=batch_size
    )
    own = swap.images(base, tested[0])
    made = []
    for window in tested:
        made.append([factor_table(read, swap.images(source, window)) for source in (other, third)])
        done += 2
        progress("interchange", done + 1, total, "run")
    kept = torch.stack(
        [
            ~value.isnan()
            for table in [*factors, *(t for pair in made for t in pair)]
            for value in table.values()
        ]
    ).all(dim=0)
    varying = _varying(factors[0], kept)
    rows = [
        Transfer(
            name, window, _slope([table[name][kept].numpy() for table in (*factors, *pair)], seed)
        )
        for window, pair in zip(tested, made, strict=True)
        for name in varying
    ]
    return Interchange(
        rows=tuple(rows),
        sites=tuple(sites),
        steps=steps,
        dropped=int((~kept).sum()),
        unchanged=float((own - base[0].images).abs().max()),
    )


@dataclass(frozen=True, kw_only=True)
class _Swapper:
    """Resamples the base images with another run's values in place."""

    model: UNetModel
    seed: int
    steps: int
    labels: Labels | None
    batch_size: int

    @torch.no_grad()
    def images(
        self, source: Sequence[StepActivations], window: range
    ) -> Float[Tensor, "image channel y x"]:
        parts = []
        for batch in batches(len(source[0]), self.seed, self.labels, self.batch_size):
            hooks = {acts.site: _replacing(acts, batch.rows, window) for acts in source}
            parts.append(sample_batch(self.model, batch, self.steps, hooks))
        return torch.cat(parts)


def _replacing(acts: StepActivations, rows: slice, window: range) -> Hook:
    def hook(value: Tensor, call: Call) -> Tensor | None:
        return acts.values[rows, call.step] if call.step in window else None

    return hook


def _varying(table: Mapping[str, Float[Tensor, " pair"]], kept: Tensor) -> list[str]:
    require_readable(kept, "pairs", "see whether the network passes its gate")
    names = [name for name, value in table.items() if float(value[kept].std()) > 1e-6]
    if not names:
        raise InputError(
            f"none of {', '.join(table)} varies among the images; see whether the network "
            "passes its gate"
        )
    return names


def _slope(values: Sequence[Float[np.ndarray, " pair"]], seed: int) -> Score:
    """Values of A, B, the third, and of A with B's and with the third's site."""
    base, other, third, from_other, from_third = values
    wanted, control = other - base, third - base

    def slope(places: np.ndarray) -> np.ndarray:
        rows = places.astype(int)
        return _simple(wanted[rows], (from_other - base)[rows])

    return bootstrap_statistic(
        np.arange(len(base), dtype=float),
        slope,
        seed=seed,
        control=_partial(wanted, control, from_third - base),
    )


def _simple(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The least-squares slope over the last axis, with an intercept."""
    x = x - x.mean(axis=-1, keepdims=True)
    return np.asarray((x * y).sum(axis=-1) / np.maximum((x * x).sum(axis=-1), 1e-12))


def _partial(x: np.ndarray, beside: np.ndarray, y: np.ndarray) -> float:
    """The slope on `x` with `beside` in the regression: as both differences share A, `x` alone
    would absorb half of the other's effect.
    """
    design = np.stack([x, beside, np.ones_like(x)], axis=1)
    return float(np.linalg.lstsq(design, y, rcond=None)[0][0])


def _words(window: range) -> str:
    return f"{window.start}-{window.stop - 1}" if window.step == 1 else str(list(window))
