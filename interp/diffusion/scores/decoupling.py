"""Joint strengths of several directions that move one factor and leave the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.core.names import require_known
from interp.diffusion.edits.straight import AnyEdit
from interp.diffusion.images.factors import LEAST
from interp.diffusion.scores.effects import Trial


@dataclass(frozen=True)
class Decoupled:
    """The best strengths, their mean effect on every factor, its largest miss, and the number
    tried.
    """

    strengths: tuple[float, ...]
    effects: Mapping[str, float]
    missed: float
    tried: int


def decoupled_strengths(
    trial: Trial,
    make: Callable[[tuple[float, ...]], AnyEdit],
    count: int,
    factor: str,
    wanted: float = 0.5,
    *,
    start: float = 0.3,
    tolerance: float = 0.02,
    iterations: int = 8,
) -> Decoupled:
    """Solve for strengths whose mean change on the trial's images is `wanted` standard deviations
    in one factor and 0 in all others.

    Broyden's method (1965): each direction alone gives a first Jacobian, which every trial corrects
    by rank one. Only means are solved for; single images may still change. Returns the best
    strengths tried; judge them on another trial.

    Args:
        make: an edit for `count` strengths, in the order of the directions.
        start: the strength at which each is first tried alone, with the sign of `wanted`.

    Raises:
        InputError: an unknown factor, or edits that make most images unreadable at the start.

    Cost: `count + iterations` samplings of the trial's images.

    Example:
        >>> edit = partial(CurvedEdit, curves, window=range(17, 20))
        >>> decoupled_strengths(trial, edit, 4, "x").strengths
    """
    require_known("factor", factor, trial.judge.factors)
    target = torch.zeros(len(trial.judge.factors), dtype=torch.double)
    target[trial.judge.factors.index(factor)] = wanted
    step = start if wanted > 0 else -start
    alone = [
        _effects(trial, make(tuple(step if i == j else 0.0 for j in range(count))))
        for i in range(count)
    ]
    if any(column is None for column in alone):
        raise InputError(
            f"a direction alone at strength {step:g} makes most images unreadable; take a "
            "smaller start"
        )
    jacobian = torch.stack([column for column in alone if column is not None], dim=1) / step
    strengths = torch.zeros(count, dtype=torch.double)
    effects = torch.zeros_like(target)
    best = (float((effects - target).abs().max()), strengths, effects)
    tried, share = count, 1.0
    for _ in range(iterations):
        move = share * (torch.linalg.pinv(jacobian, rtol=1e-3) @ (target - effects))
        found = _effects(trial, make(tuple((strengths + move).tolist())))
        tried += 1
        if found is None:
            share /= 2
            continue
        jacobian = jacobian + torch.outer(
            found - effects - jacobian @ move, move
        ) / move.square().sum().clamp(min=1e-12)
        strengths, effects = strengths + move, found
        best = min(
            best,
            (float((effects - target).abs().max()), strengths, effects),
            key=lambda item: item[0],
        )
        if best[0] <= tolerance:
            break
    missed, strengths, effects = best
    named = dict(zip(trial.judge.factors, effects.tolist(), strict=True))
    return Decoupled(tuple(strengths.tolist()), named, missed, tried)


def _effects(trial: Trial, edit: AnyEdit) -> Float[Tensor, " factor"] | None:
    """Mean changes over the images that stay readable; None where most do not."""
    changes = trial.changes(edit)
    readable = changes[~changes.isnan().any(dim=1)]
    return readable.mean(dim=0) if len(readable) >= max(LEAST, len(changes) // 2) else None
