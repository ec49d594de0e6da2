"""The strength at which an edit has a given effect, so that edits compare at equal effect."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.edits.straight import Edit, Rule
from interp.diffusion.scores.effects import Trial

TRIES = 5
NEAR = 0.2
"""How far, as a share, a common strength's effect may be from the wanted one."""


@dataclass(frozen=True)
class Matched:
    """The strength found, its measured effect, whether that is the wanted one, and all tries."""

    strength: float
    effect: float
    reached: bool
    tried: tuple[tuple[float, float], ...]


def match_strength(
    effect: Callable[[float], float],
    wanted: float,
    *,
    start: float = 0.01,
    most: float = 100.0,
    growth: float = 2.0,
    tolerance: float = 0.05,
) -> Matched:
    """The smallest strength whose effect is within a share `tolerance` of `wanted`: grow from
    `start`, then bisect in the logarithm.

    From below, since at large strengths all directions do the same. Growth ends where the effect
    falls below half its peak twice in a row. If the effect is not reached, the nearest try is
    returned with `reached=False`.

    Args:
        effect: the (positive) effect of a positive strength, on seeds kept for this.

    Raises:
        InputError: a number that is not positive.

    Cost: about 10 calls of `effect`.

    Example:
        >>> match_strength(lambda strength: 12 * strength, 0.5).strength
    """
    if min(wanted, start, most, tolerance) <= 0 or growth <= 1:
        raise InputError(
            f"wanted {wanted}, start {start}, most {most}, growth {growth}: give positive "
            "numbers, and a growth above 1"
        )
    tried: list[tuple[float, float]] = []

    def measure(strength: float) -> float:
        tried.append((strength, effect(strength)))
        return tried[-1][1]

    strength, found = start, measure(start)
    enough, too_much = wanted * (1 - tolerance), wanted * (1 + tolerance)
    while found > too_much and strength > start / 1000:
        strength /= growth
        found = measure(strength)
    grown = len(tried) - 1
    while found < enough and strength * growth <= most and not _falling(tried[grown:]):
        strength *= growth
        found = measure(strength)
    low, high = strength / growth, strength
    for _ in range(8):
        if found < enough or abs(tried[-1][1] - wanted) <= tolerance * wanted:
            break
        middle = (low * high) ** 0.5
        low, high = (middle, high) if measure(middle) < wanted else (low, middle)
    best = min(tried, key=lambda pair: abs(pair[1] - wanted))
    return Matched(*best, abs(best[1] - wanted) <= 2 * tolerance * wanted, tuple(tried))


def strength_for(
    trial: Trial,
    direction: StepDirections,
    factor: str,
    wanted: float = 0.5,
    *,
    sign: int = 1,
    rule: Rule = "asymmetric",
    window: range | None = None,
    start: float = 0.01,
    most: float = 100.0,
) -> Matched:
    """The strength at which a direction moves a factor by `wanted` standard deviations of the data
    on the trial's images.

    `sign` −1 moves the factor down, against the direction. Judge the edit on another trial.

    Raises:
        InputError: an unknown factor, or several directions.

    Cost: about 10 samplings of the trial's images.

    Example:
        >>> strength_for(chosen_on, directions["x"], "x").strength
    """
    if len(direction) != 1:
        raise InputError(f"{len(direction)} directions were given; give one, directions[name]")
    place = trial.judge.factors.index(factor)

    def effect(strength: float) -> float:
        changes = trial.changes(Edit(direction, (sign * strength,), rule, window))[:, place]
        readable = changes[~changes.isnan()]
        # An edit that makes most images unreadable is no longer an edit.
        return sign * float(readable.mean()) if 2 * len(readable) > len(changes) else -math.inf

    return match_strength(effect, wanted, start=start, most=most)


def common_strength(
    trial: Trial, direction: StepDirections, wanted: float, *, start: float, most: float
) -> Matched:
    """The strength at which the factor that a direction moves most moves by `wanted`, up or down:
    scaled from the last try, between those too weak and too strong.

    For directions not named after a factor. Half the cost of `strength_for`; to within a fifth of
    `wanted`, else the nearest try is returned.

    Cost: at most 5 samplings of the trial's images.

    Example:
        >>> common_strength(chosen_on, pca["component 0"], 0.5, start=0.1, most=100.0).strength
    """
    strength, low, high = start, 0.0, math.inf
    tried: list[tuple[float, float]] = []
    for _ in range(TRIES):
        found = _largest(trial.changes(Edit(direction, (strength,))))
        tried.append((strength, found))
        if abs(found - wanted) < NEAR * wanted:
            return Matched(strength, found, True, tuple(tried))
        low, high = (max(low, strength), high) if found < wanted else (low, min(high, strength))
        guess = min(strength * min(max(wanted / max(found, 1e-3), 0.25), 4.0), most)
        between = low < guess < high or not 0 < low < high < most
        strength = guess if between else (low * high) ** 0.5
    nearest = min(tried, key=lambda pair: (abs(pair[1] - wanted), pair[0]))
    return Matched(*nearest, False, tuple(tried))


def _largest(changes: Float[Tensor, "image factor"]) -> float:
    """The largest mean change of a factor; infinite (too strong) where most images are
    unreadable.
    """
    readable = ~changes.isnan().any(dim=1)
    if 2 * int(readable.sum()) <= len(changes):
        return math.inf
    return float(changes[readable].mean(dim=0).abs().max())


def _falling(tried: list[tuple[float, float]]) -> bool:
    effects = [found for _, found in tried]
    peak = max(effects)
    return len(effects) > 2 and peak > 0 and all(found < 0.5 * peak for found in effects[-2:])
