"""What projecting one direction out of another does to its leak and to its own effect."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from interp.core import InputError, Score, bootstrap_mean, bootstrap_statistic
from interp.core.display.markup import block, facts, table
from interp.core.display.scores import axis_note, score_cells
from interp.core.names import require_known
from interp.diffusion.directions.projection import projected_out
from interp.diffusion.directions.step_directions import StepDirections, random_like
from interp.diffusion.edits.straight import Edit, Rule
from interp.diffusion.images.factors import require_readable
from interp.diffusion.scores.effects import Trial


@dataclass(frozen=True, kw_only=True)
class ProjectionScore:
    """An edit before and after others are projected out of its direction, on the same images, in
    standard deviations of the data.

    `target` is the mean change of the target factor, `leak` the mean absolute change of the named
    one, `drift` its mean signed change: a linear projection can remove only this, not what differs
    between images. `target_kept`, `leak_left` and `drift_left` are the ratios after/before over the
    same resampled images, NaN where nothing was there before; their control projects out random
    directions (about 1). `dropped` images were not readable under every edit.
    """

    target: str
    named: str
    strength: float
    target_before: Score
    target_after: Score
    leak_before: Score
    leak_after: Score
    drift_before: Score
    drift_after: Score
    target_kept: Score
    leak_left: Score
    drift_left: Score
    dropped: int

    def __str__(self) -> str:
        return (
            f"{self.target} without {self.named}: target {self.target_before.value:+.3f} → "
            f"{self.target_after.value:+.3f}, kept {self.target_kept}; leak "
            f"{self.leak_before.value:.3f} → {self.leak_after.value:.3f}, left {self.leak_left}; "
            f"drift {self.drift_before.value:+.3f} → {self.drift_after.value:+.3f}, left "
            f"{self.drift_left}"
        )

    def _repr_html_(self) -> str:
        names = (
            f"change of {self.target}",
            f"absolute change of {self.named}",
            f"signed change of {self.named}",
        )
        before = [self.target_before, self.leak_before, self.drift_before]
        after = [self.target_after, self.leak_after, self.drift_after]
        left = [self.target_kept, self.leak_left, self.drift_left]
        both = score_cells([*before, *after], signed=True)
        rows = list(zip(names, both[:3], both[3:], score_cells(left), strict=True))
        caption = (
            f"Before and after, in sd of the data: {axis_note([*before, *after])}; share left: "
            f"{axis_note(left)}"
        )
        body = table(("", "before", "after", "share left"), rows, caption=caption)
        named = facts([("strength", f"{self.strength:g}"), ("images dropped", self.dropped)])
        return block("Projection", body, named, name=f"{self.target} without {self.named}")


def projection_effect(
    trial: Trial,
    direction: StepDirections,
    others: StepDirections,
    target: str,
    named: str,
    strength: float,
    *,
    each_step: bool = False,
    keep_length: bool = False,
    rule: Rule = "asymmetric",
    window: range | None = None,
    seed: int = 0,
) -> ProjectionScore:
    """Edit with a direction as it is, after `projected_out(direction, others)`, and with random
    directions projected out instead.

    Args:
        others: what is projected out, usually the direction of the named factor.
        named: the factor that should be left alone.
        strength: of both edits, chosen on other seeds.
        each_step: project at every step separately.
        keep_length: scale the projected direction back to its former length.

    Raises:
        InputError: several directions, an unknown factor or the same twice, directions that do not
            fit, or too few readable images.

    Source: Haas et al. 2024 (arXiv 2303.11073), section 4, for the projection. Cost: three
    samplings of the trial's images.

    Example:
        >>> x, radius = directions["x"], directions["radius"]
        >>> projection_effect(trial, x, radius, "x", "radius", 0.04).leak_left
    """
    for factor in (target, named):
        require_known("factor", factor, trial.judge.factors)
    if len(direction) != 1 or target == named:
        raise InputError(
            f"{len(direction)} directions, factors {target!r} and {named!r}; give one direction "
            "and two factors"
        )
    removed = [
        projected_out(direction, away, each_step=each_step)
        for away in (others, random_like(others, seed=seed))
    ]
    if keep_length:
        removed = [left.scaled(float(direction.norms)) for left in removed]
    edits = [Edit(used, (strength,), rule, window) for used in (direction, *removed)]
    changes = np.stack([trial.changes(edit).numpy() for edit in edits])
    places = [trial.judge.factors.index(factor) for factor in (target, named)]
    kept: Bool[np.ndarray, " image"] = ~np.isnan(changes[:, :, places]).any(axis=(0, 2))
    require_readable(kept, "edited images", "take a smaller strength")
    moved, named_moved = changes[:, kept, places[0]], changes[:, kept, places[1]]
    leaked = np.abs(named_moved)
    return ProjectionScore(
        target=target,
        named=named,
        strength=strength,
        target_before=bootstrap_mean(moved[0], seed=seed),
        target_after=bootstrap_mean(moved[1], seed=seed),
        leak_before=bootstrap_mean(leaked[0], seed=seed),
        leak_after=bootstrap_mean(leaked[1], seed=seed),
        drift_before=bootstrap_mean(named_moved[0], seed=seed),
        drift_after=bootstrap_mean(named_moved[1], seed=seed),
        target_kept=_ratio(moved, seed),
        leak_left=_ratio(leaked, seed),
        drift_left=_ratio(named_moved, seed),
        dropped=int((~kept).sum()),
    )


def _ratio(values: Float[np.ndarray, "edit image"], seed: int) -> Score:
    """The second row's mean over the first's, on the same images; control: the third's over it."""
    before, after, random = values

    def ratio(rows: np.ndarray) -> np.ndarray:
        places = rows.astype(int)
        below = np.asarray(before[places].mean(axis=-1))
        return np.divide(
            after[places].mean(axis=-1),
            below,
            out=np.full_like(below, np.nan),
            where=np.abs(below) > 1e-9,
        )

    control = float(random.mean() / before.mean()) if abs(before.mean()) > 1e-9 else None
    # Row numbers are resampled, so that all three edits keep their pairing.
    return bootstrap_statistic(
        np.arange(len(before), dtype=float), ratio, seed=seed, control=control
    )
