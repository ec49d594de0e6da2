"""Causal paths in a UNet: the shares of an edit's effect through the bottleneck and each skip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from interp.core import InputError, Progress, Score, bootstrap_mean, bootstrap_statistic, silent
from interp.core.display.markup import block, foreign, table
from interp.core.display.scores import axis_note, score_cells
from interp.core.names import require_known
from interp.diffusion.bottleneck.clamped import ClampedRuns
from interp.diffusion.edits.straight import AnyEdit
from interp.diffusion.images.factors import LEAST, require_readable
from interp.diffusion.scores.effects import Trial


@dataclass(frozen=True)
class Carried:
    """One carrier's part in an edit's effect on one factor.

    `lost` is the share of the effect that is lost when this carrier is clamped, `kept` the share
    left when all others are. NaN where the edit has no sure effect or too few images are readable.
    """

    carrier: str
    factor: str
    lost: Score
    kept: Score


@dataclass(frozen=True)
class CarrierShares:
    """A row per carrier and factor.

    `whole` is the edit's mean change of each factor in standard deviations of the data, its control
    a random direction of equal norm. `direct` is the share left when every carrier is clamped: what
    the edit adds to the network's answers without passing through the network again.
    """

    rows: tuple[Carried, ...]
    whole: Mapping[str, Score]
    direct: Mapping[str, Score]
    carriers: tuple[str, ...]

    def __getitem__(self, carrier: str) -> dict[str, Carried]:
        """One carrier's rows by factor."""
        require_known("carrier", carrier, self.carriers)
        return {row.factor: row for row in self.rows if row.carrier == carrier}

    def __str__(self) -> str:
        lines = []
        for factor, whole in self.whole.items():
            lines.append(f"{factor}: change {whole}, direct share {self.direct[factor]}")
            lines += [
                f"  {row.carrier:8} lost {row.lost}  kept alone {row.kept}"
                for row in self.rows
                if row.factor == factor
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        lost, kept = [row.lost for row in self.rows], [row.kept for row in self.rows]
        named = ([row.factor for row in self.rows], [row.carrier for row in self.rows])
        caption = (
            f"Share of the effect; lost: this carrier clamped ({axis_note(lost)}), kept: every "
            f"other clamped ({axis_note(kept)})"
        )
        shares = table(
            ("factor", "carrier", "lost", "kept alone"),
            list(zip(*named, score_cells(lost), score_cells(kept), strict=True)),
            caption=caption,
        )
        whole, direct = list(self.whole.values()), [self.direct[factor] for factor in self.whole]
        effects = zip(
            map(foreign, self.whole),
            score_cells(whole, signed=True),
            score_cells(direct),
            strict=True,
        )
        caption = (
            f"Change in sd of the data ({axis_note(whole)}), and the share left with every "
            f"carrier clamped ({axis_note(direct)})"
        )
        return block(
            "Carrier shares",
            table(("factor", "change", "direct share"), list(effects), caption=caption),
            shares,
        )


def carrier_shares(
    trial: Trial,
    edit: AnyEdit,
    *,
    factors: Sequence[str] | None = None,
    carriers: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> CarrierShares:
    """Remake the edited images with carriers clamped to their values in the unedited run of the
    same seed, and measure what is lost.

    An edit of the bottleneck changes the network's answer at once and, through the changed image,
    the bottleneck and every skip connection at later steps. The bottleneck (the edit comes on top)
    or a skip is clamped at every step, in both answers of the asymmetric rule. With `E` the mean
    change of a factor, `lost` is `1 − E(one clamped) / E(none clamped)` and `kept` is `E(all others
    clamped) / E(none clamped)`, over the same images. Carriers interact and stand in for each
    other, so shares need not add up to 1. The sampler's own memory of the image is not clamped.

    Each control is the same difference under a random direction of equal norm, over the edit's
    whole effect: 0 where clamping alone moves no factor.

    Args:
        edit: of the bottleneck, by either rule; its strength chosen on other seeds.
        factors: those to measure; None for all of the trial's judge.
        carriers: `mid`, and `skip0` (from the first convolution) to the deepest; None for all.
            Others always means all others.

    Raises:
        InputError: an edit of another site or sampler, an unknown factor or carrier, a network
            whose up blocks are not resnets that each read a skip, a model made by `guided`, or too
            few readable images.

    Source: the definition is ours; the shares are the indirect effects of mediation analysis (Pearl
    2001; for networks Vig et al. 2020, arXiv 2004.12265). Cost: `4 × carriers + 5` samplings of the
    trial's images, mostly with two answers per step by the asymmetric rule; memory for all carriers
    at every step of one batch.

    Example:
        >>> carrier_shares(trial, Edit(directions["x"], (0.04,)))["mid"]["x"].lost
    """
    if hasattr(trial.model.module, "unconditional"):
        # Hooks clamp one pass only: what the other carries would count as the direct share.
        raise InputError(
            f"{trial.model.name} is guided, and only one of its two passes could be clamped; give "
            "a trial of the network itself"
        )
    runner = ClampedRuns(trial)
    runner.require(edit)
    measured = trial.judge.factors if factors is None else tuple(factors)
    chosen = runner.carriers if carriers is None else tuple(carriers)
    for factor in measured:
        require_known("factor", factor, trial.judge.factors)
    for carrier in chosen:
        require_known("carrier", carrier, runner.carriers)
    every = frozenset(runner.carriers)
    each = (names for name in chosen for names in (frozenset({name}), every - {name}))
    clamped = list(dict.fromkeys([frozenset[str](), every, *each]))
    runs = [(used, names) for names in clamped for used in (edit, edit.randomised(seed))]
    changes = runner.changes(runs, progress)
    pairs = {
        names: (changes[2 * place], changes[2 * place + 1]) for place, names in enumerate(clamped)
    }
    tables = {
        factor: _Shares(trial.judge.factors.index(factor), pairs, seed) for factor in measured
    }
    return CarrierShares(
        tuple(
            Carried(name, factor, table.of(frozenset({name}), lost=True), table.of(every - {name}))
            for factor, table in tables.items()
            for name in chosen
        ),
        {factor: table.whole for factor, table in tables.items()},
        {factor: table.of(every) for factor, table in tables.items()},
        chosen,
    )


@dataclass(frozen=True, eq=False)
class _Shares:
    """Shares of one factor, from the changes under the edit and a random direction for every set of
    clamped carriers.
    """

    place: int
    pairs: Mapping[
        frozenset[str], tuple[Float[np.ndarray, "image factor"], Float[np.ndarray, "image factor"]]
    ]
    seed: int

    def _changes(self, clamped: frozenset[str], random: int) -> Float[np.ndarray, " image"]:
        return self.pairs[clamped][random][:, self.place]

    @cached_property
    def whole(self) -> Score:
        known = [self._changes(frozenset(), which) for which in (0, 1)]
        for values in known:
            require_readable(~np.isnan(values), "edited images", "take a smaller strength")
        edited, random = (values[~np.isnan(values)] for values in known)
        return bootstrap_mean(edited, seed=self.seed, control=float(random.mean()))

    def of(self, clamped: frozenset[str], *, lost: bool = False) -> Score:
        """The share of the effect that is left, or lost, with these carriers clamped."""
        if self.whole.low <= 0 <= self.whole.high:
            return self._nothing("the edit has no sure effect", self.whole.n)
        whole, left = _both(self._changes(frozenset(), 0), self._changes(clamped, 0))
        if len(whole) < LEAST:
            return self._nothing("too few images could be read", len(whole))
        random, random_left = _both(self._changes(frozenset(), 1), self._changes(clamped, 1))
        part, random_part = (whole - left, random - random_left) if lost else (left, random_left)

        def share(rows: np.ndarray) -> np.ndarray:
            places = rows.astype(int)
            return np.asarray(part[places].mean(axis=-1) / whole[places].mean(axis=-1))

        control = float(random_part.mean() / whole.mean()) if len(random_part) else None
        return bootstrap_statistic(
            np.arange(len(whole), dtype=float), share, seed=self.seed, control=control
        )

    def _nothing(self, why: str, count: int) -> Score:
        return Score.undefined(self.seed, n=count, interval=f"none: {why}")


def _both(
    one: Float[np.ndarray, " image"], other: Float[np.ndarray, " image"]
) -> tuple[np.ndarray, np.ndarray]:
    """Two rows where both are known."""
    known = ~(np.isnan(one) | np.isnan(other))
    return one[known], other[known]
