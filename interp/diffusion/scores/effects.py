"""Effects of edits on factors: each factor's change in fresh images, in sd of the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, Score, bootstrap_mean, silent
from interp.core.display.markup import block, facts, numeral
from interp.core.display.scores import score_table
from interp.core.names import require_known
from interp.diffusion.directions.step_directions import StepDirections, random_like
from interp.diffusion.edits.straight import AnyEdit, Edit, Rule, sample_edited
from interp.diffusion.images.factors import Reader, factor_table, require_readable
from interp.diffusion.sampling.ddim import BATCH, STEPS
from interp.diffusion.sampling.labels import Labels
from interp.models import UNetModel


@dataclass(frozen=True, eq=False)
class Judge:
    """How factors are read, and their units: `spread` holds the standard deviation (sd) in the data
    of each judged factor.

    Example:
        >>> judge = judge_of(read_shapes, data.images)
    """

    read: Reader
    spread: Mapping[str, float]

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors, in order."""
        return tuple(self.spread)

    def table(self, images: Float[Tensor, "image channel y x"]) -> Float[Tensor, "image factor"]:
        """Every factor of every image in sd of the data, NaN where unreadable."""
        read = factor_table(self.read, images)
        return torch.stack([read[name] / self.spread[name] for name in self.factors], dim=1)


def judge_of(read: Reader, data: Float[Tensor, "image channel y x"]) -> Judge:
    """A judge in units of the data's sd, without factors that do not vary there.

    Raises:
        InputError: none varies.
    """
    known = {name: value[~value.isnan()] for name, value in factor_table(read, data).items()}
    spread = {
        name: float(value.std())
        for name, value in known.items()
        if len(value) > 1 and float(value.std()) > 1e-6
    }
    if not spread:
        raise InputError(
            f"none of {', '.join(known)} varies in the data; give data whose factors vary"
        )
    return Judge(read, spread)


@dataclass(frozen=True, eq=False, kw_only=True)
class Trial:
    """Fresh images to try edits on, always from the same seeds, and their unedited versions.

    Example:
        >>> trial = fresh_trial(model, judge, 200, seed=11)
        >>> trial.changes(Edit(directions["x"], (0.04,)))
    """

    model: UNetModel
    judge: Judge
    base: Float[Tensor, "image factor"]
    images: Float[Tensor, "image channel y x"]
    seed: int
    steps: int
    eta: float
    labels: Labels | None
    batch_size: int

    def made(self, edit: AnyEdit) -> Float[Tensor, "image channel y x"]:
        """The images with an edit."""
        return sample_edited(
            self.model,
            len(self.base),
            edit,
            seed=self.seed,
            steps=self.steps,
            eta=self.eta,
            labels=self.labels,
            batch_size=self.batch_size,
        )

    def changes(self, edit: AnyEdit) -> Float[Tensor, "image factor"]:
        """The change of each factor of each image, in sd of the data; NaN where it is unreadable
        before or after.

        Cost: one sampling of the images.
        """
        return self.judge.table(self.made(edit)) - self.base

    def first(self, count: int) -> "Trial":
        """The first few images, which are the same for any count."""
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, base=self.base[:count], images=self.images[:count], labels=labels)


def fresh_trial(
    model: UNetModel,
    judge: Judge,
    count: int,
    *,
    seed: int,
    steps: int = STEPS,
    eta: float = 0.0,
    labels: Labels | None = None,
    batch_size: int = BATCH,
) -> Trial:
    """Sample images to try edits on; use a seed not used to find directions or choose strengths.

    Raises:
        InputError: fewer than 8 images are readable.

    Cost: `count × steps` evaluations of the UNet.
    """
    images = sample_edited(
        model, count, None, seed=seed, steps=steps, eta=eta, labels=labels, batch_size=batch_size
    )
    base = judge.table(images)
    require_readable(~base.isnan().any(dim=1), "images", "see whether the network passes its gate")
    return Trial(
        model=model,
        judge=judge,
        base=base,
        images=images,
        seed=seed,
        steps=steps,
        eta=eta,
        labels=labels,
        batch_size=batch_size,
    )


@dataclass(frozen=True, kw_only=True)
class EditScore:
    """What an edit did to its target factor and to the others, in sd of the data.

    `change` is the target's mean change, `right_sign` the share of images that moved in the wanted
    direction, `leaks` the mean absolute change of each other factor, `leak` of all together. The
    control of each is that of random directions of equal norm at every step. `dropped` counts
    images unreadable before or after. `reached` is False where no strength gave the wanted change.
    """

    target: str
    strength: float
    change: Score
    right_sign: Score
    leak: Score
    leaks: Mapping[str, Score]
    dropped: int
    reached: bool = True

    @property
    def selectivity(self) -> float:
        """`|change| / (|change| + leak)`: 1 where nothing else changes."""
        whole = abs(self.change.value) + self.leak.value
        return abs(self.change.value) / whole if whole > 0 else float("nan")

    @property
    def beats_control(self) -> bool:
        """Whether the change's interval lies wholly beyond that of random directions, either
        side.
        """
        chance = abs(self.change.control or 0.0)
        return self.change.low > chance or self.change.high < -chance

    def __str__(self) -> str:
        note = "" if self.reached else "  NOT REACHED"
        return (
            f"{self.target:10} strength {self.strength:+.4f} change {self.change} right sign "
            f"{self.right_sign} leak {self.leak}{note}"
        )

    def _repr_html_(self) -> str:
        rows = [("change of the target", self.change), ("leak, all others", self.leak)]
        rows += [(f"leak, {name}", score) for name, score in self.leaks.items()]
        body = score_table(
            ("", "sd of the data"),
            rows,
            about="Change, and absolute change of other factors; control: random directions",
        )
        signs = score_table(
            ("", "share"),
            [("moved the asked way", self.right_sign)],
            about="Share of images; control: random directions",
        )
        strength = [
            ("strength", f"{self.strength:g}"),
            ("selectivity", numeral(self.selectivity)),
            ("images dropped", self.dropped),
        ]
        return block(
            "Edit",
            body,
            signs,
            facts(strength),
            name=self.target,
            about="" if self.reached else "NOT REACHED",
        )


def score_edit(
    trial: Trial,
    edit: AnyEdit,
    controls: Sequence[AnyEdit],
    target: str,
    *,
    sign: int = 1,
    seed: int = 0,
    reached: bool = True,
) -> EditScore:
    """Measure an edit on fresh images, beside random directions of equal norm.

    Args:
        controls: the same edit with random directions (`random_edit`); their changes are averaged.
        sign: 1 if the target should grow, −1 if it should shrink.

    Raises:
        InputError: an unknown factor, no control, or too few readable images.

    Cost: a sampling of the trial's images per edit.

    Example:
        >>> score_edit(trial, edit, [random_edit(edit, seed=i) for i in range(3)], "x")
    """
    require_known("factor", target, trial.judge.factors)
    if not controls:
        raise InputError("no control was given; give the same edit with random directions")
    place = trial.judge.factors.index(target)
    moved, dropped = _readable(trial.changes(edit))
    random = np.concatenate([_readable(trial.changes(control))[0] for control in controls])
    others = [i for i in range(len(trial.judge.factors)) if i != place]

    def score(values: np.ndarray, control: np.ndarray) -> Score:
        return bootstrap_mean(values, seed=seed, control=float(control.mean()))

    size, random_size = np.abs(moved), np.abs(random)
    leak = Score(0.0, 0.0, 0.0, n=len(moved), seed=seed, control=0.0)
    if others:
        leak = score(size[:, others].mean(axis=1), random_size[:, others].mean(axis=1))
    right, chance = ((sign * values[:, place] > 0).astype(float) for values in (moved, random))
    one = len(edit.strengths) == 1
    return EditScore(
        target=target,
        strength=edit.strengths[0] if one else float(np.linalg.norm(edit.strengths)),
        change=score(moved[:, place], random[:, place]),
        right_sign=score(right, chance),
        leak=leak,
        leaks={trial.judge.factors[i]: score(size[:, i], random_size[:, i]) for i in others},
        dropped=dropped,
        reached=reached,
    )


@dataclass(frozen=True, eq=False)
class EffectMatrix:
    """The effect of each direction on every factor, by the direction's name: `scores` on average
    over images, `changes` per image.

    Example:
        >>> effect_matrix(trial, pca, strengths).scores["component 0"]["x"]
    """

    scores: Mapping[str, Mapping[str, Score]]
    changes: Mapping[str, Float[np.ndarray, "image factor"]]


def effect_matrix(
    trial: Trial,
    directions: StepDirections,
    strengths: Sequence[float],
    *,
    rule: Rule = "asymmetric",
    seed: int = 0,
    progress: Progress = silent,
) -> EffectMatrix:
    """Half the difference between the mean changes of every factor under every direction at its
    strength and under its opposite.

    The difference cancels what any push does. Each direction has its own control: a random
    direction of equal norm at the same strength.

    Raises:
        InputError: strengths and directions differ in number, or too few readable images.

    Cost: four samplings of the trial's images per direction.

    Example:
        >>> effect_matrix(trial, pca, [0.5] * len(pca)).scores["component 0"]["x"]
    """
    if len(strengths) != len(directions):
        raise InputError(
            f"{len(strengths)} strengths were given for {len(directions)} directions; give one each"
        )
    scores, changes = {}, {}
    for place, (name, strength) in enumerate(zip(directions.names, strengths, strict=True)):
        direction = directions[name]
        moved = odd_changes(trial, direction, strength, rule)
        control = odd_changes(trial, random_like(direction, seed=seed + place), strength, rule)
        scores[name] = {
            factor: bootstrap_mean(moved[:, i], seed=seed, control=float(control[:, i].mean()))
            for i, factor in enumerate(trial.judge.factors)
        }
        changes[name] = moved
        progress("effects", place + 1, len(directions), "direction")
    return EffectMatrix(scores, changes)


def odd_changes(
    trial: Trial,
    direction: StepDirections,
    strength: float,
    rule: Rule = "asymmetric",
    window: range | None = None,
) -> Float[np.ndarray, "image factor"]:
    """Half the difference between the changes of every factor under a direction and its opposite,
    over readable images.

    Raises:
        InputError: too few images stay readable.
    """
    down = trial.changes(Edit(direction, (-strength,), rule, window))
    up = trial.changes(Edit(direction, (strength,), rule, window))
    return _readable((up - down) / 2)[0]


def random_edit(edit: AnyEdit, *, seed: int) -> AnyEdit:
    """The same edit with random directions of equal norm at every step."""
    return edit.randomised(seed)


def _readable(
    changes: Float[Tensor, "image factor"],
) -> tuple[Float[np.ndarray, "readable factor"], int]:
    kept = ~changes.isnan().any(dim=1)
    require_readable(kept, "edited images", "take a smaller strength")
    return changes[kept].numpy(), int((~kept).sum())
