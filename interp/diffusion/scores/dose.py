"""Dose and response: does more of a direction do more, and how much of the images stays?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.core import InputError, Score, bootstrap_mean
from interp.core.display.markup import block, facts, table
from interp.core.display.scores import axis_note, score_cells, score_table
from interp.core.names import require_known
from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.edits.straight import Edit, Rule
from interp.diffusion.images.factors import require_readable
from interp.diffusion.scores.effects import Trial, random_edit


@dataclass(frozen=True, kw_only=True)
class DoseResponse:
    """A factor at rising strengths of a direction.

    `changes` are mean changes in standard deviations of the data, `monotone` the mean over images
    of Spearman's correlation of strength and factor (1: more is always more). Their controls are a
    random direction of equal norm; as a tiny effect can be monotone, read it beside `changes`.
    `kept` is, per strength, the share of an image's squared contrast that stays:
    `1 − ‖edited − plain‖² / ‖plain − mean plain‖²`.
    """

    strengths: tuple[float, ...]
    changes: tuple[Score, ...]
    monotone: Score
    kept: tuple[Score, ...]
    dropped: int

    def _repr_html_(self) -> str:
        rows = list(
            zip(
                (f"{strength:g}" for strength in self.strengths),
                score_cells(self.changes, signed=True),
                score_cells(self.kept),
                (change.n for change in self.changes),
                strict=True,
            )
        )
        title = (
            f"Change in sd of the data: {axis_note(self.changes)}; share of an image's "
            f"contrast kept: {axis_note(self.kept)}"
        )
        body = table(("strength", "change", "kept", "n"), rows, caption=title)
        rising = score_table(
            ("", "rank correlation"),
            [("strength with factor", self.monotone)],
            about="1: more is always more",
        )
        return block("Dose and response", body, rising, facts([("images dropped", self.dropped)]))


def dose_response(
    trial: Trial,
    direction: StepDirections,
    factor: str,
    strengths: Sequence[float],
    *,
    rule: Rule = "asymmetric",
    seed: int = 0,
) -> DoseResponse:
    """Measure a factor at several strengths (0 need not be one), on images readable at all of them.

    Raises:
        InputError: several directions, fewer than three or unsorted strengths, an unknown factor,
            or too few readable images.

    Cost: two samplings of the trial's images per strength.

    Example:
        >>> dose_response(trial, directions["x"], "x", (-0.08, -0.04, 0.0, 0.04, 0.08)).monotone
    """
    require_known("factor", factor, trial.judge.factors)
    if len(direction) != 1 or len(strengths) < 3 or list(strengths) != sorted(set(strengths)):
        raise InputError(
            f"{len(direction)} directions at strengths {list(strengths)}; give one, at three "
            "or more rising strengths"
        )
    place = trial.judge.factors.index(factor)
    columns, random, kept = [], [], []
    contrast = (trial.images - trial.images.mean(dim=0)).square().flatten(1).sum(dim=1)
    for strength in strengths:
        edit = Edit(direction, (float(strength),), rule)
        images = trial.made(edit)
        columns.append((trial.judge.table(images) - trial.base)[:, place].numpy())
        random.append(trial.changes(random_edit(edit, seed=seed))[:, place].numpy())
        lost = (images - trial.images).square().flatten(1).sum(dim=1) / contrast
        kept.append((1 - lost).double().cpu().numpy())
    moved, control = np.stack(columns, axis=1), np.stack(random, axis=1)
    readable = ~(np.isnan(moved).any(axis=1) | np.isnan(control).any(axis=1))
    require_readable(readable, "images, at every strength,", "take smaller ones")
    moved, control = moved[readable], control[readable]
    changes = tuple(
        bootstrap_mean(moved[:, i], seed=seed, control=float(control[:, i].mean()))
        for i in range(len(strengths))
    )
    chance = float(_ranks(control, strengths).mean())
    return DoseResponse(
        strengths=tuple(float(s) for s in strengths),
        changes=changes,
        monotone=bootstrap_mean(_ranks(moved, strengths), seed=seed, control=chance),
        kept=tuple(bootstrap_mean(values[readable], seed=seed) for values in kept),
        dropped=int((~readable).sum()),
    )


def _ranks(
    values: Float[np.ndarray, "image strength"], strengths: Sequence[float]
) -> Float[np.ndarray, " image"]:
    """Spearman's correlation of each image's values with the strengths; 0 where values are
    constant.
    """
    from scipy.stats import rankdata

    x = rankdata(strengths)
    y = rankdata(values, axis=1)
    x, y = x - x.mean(), y - y.mean(axis=1, keepdims=True)
    sizes = np.sqrt((x * x).sum() * (y * y).sum(axis=1))
    return np.asarray(np.where(sizes > 0, (y @ x) / np.maximum(sizes, 1e-12), 0.0))
