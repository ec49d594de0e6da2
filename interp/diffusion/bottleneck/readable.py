"""What can be read off a site and the noised image, beside what can be written at the site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Score, bootstrap_statistic
from interp.core.display.markup import block, element, foreign, table
from interp.core.display.scores import axis_note, score_cells
from interp.core.names import require_known
from interp.diffusion.edits.boundary import Passing

LEAST = 40
RIDGES = tuple(10.0**power for power in range(-3, 7))

Verdict = Literal[
    "read and written",
    "read, written the wrong way",
    "read and carried, not written",
    "read, not written",
    "written, not read",
    "neither",
]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How well one factor can be read at one step: a probe's held-out R² from the site and from the
    noised image.

    Each control is a probe fitted to permuted labels, so 0 or slightly below. `site_fit` is the
    leave-one-out R² of the site's probe within the training part, for choosing a step.
    """

    factor: str
    step: int
    timestep: int
    site: Score
    image: Score
    site_fit: float


@dataclass(frozen=True)
class Readability:
    """The readings of every step and factor; `left_out` images had an unreadable factor."""

    rows: tuple[Reading, ...]
    place: str
    train: int
    left_out: int

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors, in order."""
        return tuple(dict.fromkeys(row.factor for row in self.rows))

    def at(self, step: int) -> dict[str, Reading]:
        """One step's readings by factor.

        Raises:
            InputError: no probe was fitted at this step.
        """
        found = {row.factor: row for row in self.rows if row.step == step}
        if not found:
            steps = sorted({row.step for row in self.rows})
            raise InputError(
                f"no probe was fitted at step {step}; there are {', '.join(map(str, steps))}"
            )
        return found

    def best(self, factor: str) -> Reading:
        """The reading at the step where the site is read best, chosen within the training part."""
        require_known("factor", factor, self.factors)
        return max((row for row in self.rows if row.factor == factor), key=lambda row: row.site_fit)

    def __str__(self) -> str:
        head = f"held-out R² of ridge probes ({self.train} images to fit, {self.left_out} left out)"
        lines = [
            f"  step {row.step:2} {row.factor:10} {self.place} {row.site} | image {row.image}"
            for row in self.rows
        ]
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        site, image = [row.site for row in self.rows], [row.image for row in self.rows]
        named = [(row.step, foreign(row.factor)) for row in self.rows]
        rows = [
            (*name, *cells)
            for name, *cells in zip(named, score_cells(site), score_cells(image), strict=True)
        ]
        caption = f"Held-out R² of ridge probes; site: {axis_note(site)}; image: {axis_note(image)}"
        body = table(
            ("step", "factor", "from the site", "from the noised image"), rows, caption=caption
        )
        return block(
            "Readability",
            body,
            name=self.place,
            about=f"{self.train} images to fit, {self.left_out} left out",
        )


def readable(
    passing: Passing,
    labels: Mapping[str, Float[Tensor, " image"]],
    *,
    steps: Sequence[int] | None = None,
    held_out: float = 0.25,
    seed: int = 0,
) -> Readability:
    """Fit a ridge probe for every factor at every chosen step, on the site and on the noised image,
    and score it on held-out images.

    `R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)²` over held-out images. Inputs are standardised number by
    number and the ridge is chosen per factor by leave-one-out error, both within the training part.
    Intervals bootstrap held-out images and leave out how the probe depends on training images. Only
    images whose factors are all known count.

    Args:
        steps: which sampling steps; None for all.
        held_out: the share of images that are held out.

    Raises:
        InputError: a step that was not recorded, labels and images that differ in number, a factor
            that does not vary, or fewer than 40 usable images.

    Source: Alain & Bengio 2016 (arXiv 1610.01644) for linear probes. Cost: two singular value
    decompositions `[image, d]` per step.

    Example:
        >>> passing = record_passing(model, 512, seed=0)
        >>> found = readable(passing, factor_table(read_shapes, passing.images), steps=(1, 9))
        >>> found.best("radius").site
    """
    count, total = passing.values.shape[:2]
    chosen = tuple(range(total)) if steps is None else tuple(steps)
    unknown = [step for step in chosen if not 0 <= step < total]
    if unknown or not chosen:
        raise InputError(
            f"steps {list(chosen)} were asked for; give one or more of 0 to {total - 1}"
        )
    table, kept = _usable(labels, count)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(kept))
    cut = round(len(rows) * (1 - held_out))
    if len(rows) < LEAST or not 0 < cut < len(rows) - 1:
        raise InputError(
            f"{len(rows)} images with known factors, {held_out:.0%} held out; give at least "
            f"{LEAST}, and hold out a part"
        )
    constant = [name for i, name in enumerate(labels) if table[rows[:cut], i].std() < 1e-9]
    if constant:
        raise InputError(f"{constant[0]!r} is the same in every image; leave it out")
    readings = []
    for step in chosen:
        (site, fits), (image, _) = (
            _probed(values[:, step], table, rows[:cut], rows[cut:], seed)
            for values in (passing.values, passing.noised)
        )
        named = zip(labels, site, image, fits, strict=True)
        readings += [
            Reading(
                factor=name,
                step=step,
                timestep=passing.timesteps[step],
                site=h,
                image=x,
                site_fit=fit,
            )
            for name, h, x, fit in named
        ]
    return Readability(tuple(readings), passing.site, cut, count - len(rows))


@dataclass(frozen=True, kw_only=True)
class ReadWrite:
    """One factor as read off the site and the noised image, written by a direction, and carried by
    the site.

    `effect` is the direction's change in standard deviations of the data, `slope` that of the
    interchange test, None without one.
    """

    factor: str
    step: int
    site: Score
    image: Score
    effect: Score
    slope: Score | None
    verdict: Verdict


@dataclass(frozen=True)
class ReadWriteTable:
    """A row per factor, and the rule of the verdicts."""

    rows: tuple[ReadWrite, ...]
    rule: str

    def __getitem__(self, factor: str) -> ReadWrite:
        require_known("factor", factor, tuple(row.factor for row in self.rows))
        return next(row for row in self.rows if row.factor == factor)

    def __str__(self) -> str:
        lines = [
            f"{'factor':10} {'R² site':>22} {'R² image':>22} {'effect':>22} {'slope':>22}  verdict"
        ]
        for row in self.rows:
            cells = " ".join(
                f"{_short(score):>22}" for score in (row.site, row.image, row.effect, row.slope)
            )
            lines.append(f"{row.factor:10} {cells}  {row.verdict}")
        return "\n".join([*lines, self.rule])

    def _repr_html_(self) -> str:
        measures = ("site", "image", "effect", "slope")
        columns = {name: [getattr(row, name) for row in self.rows] for name in measures}
        cells = [score_cells(found, signed=name == "effect") for name, found in columns.items()]
        names = [foreign(row.factor) for row in self.rows]
        verdicts = [row.verdict for row in self.rows]
        caption = "; ".join(f"{name}: {axis_note(scores)}" for name, scores in columns.items())
        header = (
            "factor",
            "verdict",
            "R² from the site",
            "R² from the image",
            "effect, sd of the data",
            "slope of the interchange",
        )
        body = table(header, list(zip(names, verdicts, *cells, strict=True)), caption=caption)
        return block("Read and written", body, element("p", self.rule, kind="muted"))


def readable_writable(
    reading: Readability,
    effects: Mapping[str, Score],
    slopes: Mapping[str, Score] | None = None,
    *,
    sign: int = 1,
    step: int | None = None,
    least_read: float = 0.5,
    least_effect: float = 0.1,
    least_slope: float = 0.5,
) -> ReadWriteTable:
    """Put what can be read beside what can be written, factor by factor.

    *Read*: the lower end of the site's R² is at least `least_read`. *Written*: the whole interval
    of `sign × (effect − control)` is at least `least_effect`; *the wrong way* if that of its
    opposite is. *Carried*: the lower end of the interchange slope is at least `least_slope`. An
    effect's control (a random direction of equal norm) is taken as exact.

    Args:
        effects: what each factor's direction does to it, at strengths chosen on other seeds:
            `EditScore.change`, or a cell of `effect_matrix`, which cancels what any push does.
        slopes: `interchange(...).at(range(steps))`.
        sign: −1 where the edits should lower the factors.
        step: read at this step; None for the step read best in the training part.

    Raises:
        InputError: a factor without an effect or slope, or another sign.

    Cost: none; everything was measured before.

    Example:
        >>> effects = {name: score.change for name, score in scores.items()}
        >>> readable_writable(reading, effects, found.at(range(20)))["colour"].verdict
    """
    if sign not in (1, -1):
        raise InputError(
            f"sign is {sign}; give 1 where the factors were to grow, −1 where they were to shrink"
        )
    rows = []
    for factor in reading.factors:
        for what, given in (("effect", effects), ("slope", slopes)):
            if given is not None and factor not in given:
                raise InputError(
                    f"no {what} of {factor!r} was given; there are {', '.join(given)}: measure it, "
                    "or read fewer factors"
                )
        found = reading.best(factor) if step is None else reading.at(step)[factor]
        effect, slope = effects[factor], None if slopes is None else slopes[factor]
        carried = slope is not None and slope.low >= least_slope
        way = _way(effect, sign, least_effect)
        rows.append(
            ReadWrite(
                factor=factor,
                step=found.step,
                site=found.site,
                image=found.image,
                effect=effect,
                slope=slope,
                verdict=_verdict(found.site.low >= least_read, way, carried),
            )
        )
    rule = (
        f"read: R² ≥ {least_read:g}; written: {'' if sign == 1 else '−'}(effect − control) ≥ "
        f"{least_effect:g} sd; carried: slope ≥ {least_slope:g}; each with its whole interval"
    )
    return ReadWriteTable(tuple(rows), rule)


def _usable(
    labels: Mapping[str, Float[Tensor, " image"]], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as `[image, factor]`, and which images have all of them."""
    if not labels:
        raise InputError("no factor was given; give named values, one per image")
    for name, values in labels.items():
        if len(values) != count:
            raise InputError(
                f"{len(values)} values of {name!r} for {count} images; give one per image"
            )
    columns = [values.detach().cpu().double() for values in labels.values()]
    table = torch.stack(columns, dim=1).numpy()
    return table, ~np.isnan(table).any(axis=1)


def _probed(
    values: Tensor, table: np.ndarray, fit: np.ndarray, test: np.ndarray, seed: int
) -> tuple[list[Score], list[float]]:
    """Per factor the held-out R² (control: permuted labels) and the training part's leave-one-out
    R².
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs = values.flatten(1).detach().cpu().double().numpy()
    shuffled = table[np.random.default_rng([seed, 1]).permutation(fit)]
    probe = make_pipeline(StandardScaler(), RidgeCV(RIDGES, alpha_per_target=True))
    probe.fit(inputs[fit], np.concatenate([table[fit], shuffled], axis=1))
    guess, factors = probe.predict(inputs[test]), table.shape[1]
    scores = [
        _explained(table[test, i], guess[:, i], guess[:, factors + i], seed) for i in range(factors)
    ]
    fits = 1 + np.atleast_1d(probe[-1].best_score_)[:factors] / table[fit].var(axis=0)
    return scores, [float(fit) for fit in fits]


def _explained(true: np.ndarray, probed: np.ndarray, permuted: np.ndarray, seed: int) -> Score:
    def of(rows: np.ndarray, guess: np.ndarray) -> np.ndarray:
        wanted = true[rows]
        whole = np.square(wanted - wanted.mean(axis=-1, keepdims=True)).sum(axis=-1)
        return np.asarray(
            1 - np.square(wanted - guess[rows]).sum(axis=-1) / np.maximum(whole, 1e-300)
        )

    every = np.arange(len(true))
    control = float(of(every, permuted))
    return bootstrap_statistic(
        every.astype(float), lambda rows: of(rows.astype(int), probed), seed=seed, control=control
    )


def _way(effect: Score, sign: int, least: float) -> int:
    """1 where the effect has the wanted sign, −1 the other, 0 where neither is sure."""
    ends = sorted(sign * (end - (effect.control or 0.0)) for end in (effect.low, effect.high))
    return 1 if ends[0] >= least else -1 if ends[1] <= -least else 0


def _verdict(read: bool, way: int, carried: bool) -> Verdict:
    if not read:
        return "written, not read" if way == 1 else "neither"
    if way:
        return "read and written" if way == 1 else "read, written the wrong way"
    return "read and carried, not written" if carried else "read, not written"


def _short(score: Score | None) -> str:
    return "–" if score is None else f"{score.value:+.3f} [{score.low:+.2f}, {score.high:+.2f}]"
