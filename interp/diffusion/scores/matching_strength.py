"""The strength at which an edit has a wanted effect: edits are compared at equal measured effect,
never at equal scale.
"""

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
"""A common strength is reached whose effect is within this share of the wanted one."""


@dataclass(frozen=True)
class Matched:
    """The strength found, the effect measured there, whether the wanted effect was reached, and all
    that was tried.
    """

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
    """The smallest strength whose effect is `wanted` within `tolerance` of it: grow from `start`,
    then bisect in the logarithm.

    From below, since at large strengths every direction does the same. Where the effect is not
    reached, the strength tried that came nearest is returned with `reached=False`. The growth ends
    where the effect has fallen twice in a row to less than half of its peak.

    Args:
        effect: what a positive strength does, on seeds of its own; `wanted` is positive too.

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
    """The strength at which a direction moves a factor by `wanted` sd of the data, on the trial's
    images.

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
        # Where the edit has made most images unreadable it is no longer an edit.
        return sign * float(readable.mean()) if 2 * len(readable) > len(changes) else -math.inf

    return match_strength(effect, wanted, start=start, most=most)


def common_strength(
    trial: Trial, direction: StepDirections, wanted: float, *, start: float, most: float
) -> Matched:
    """The strength at which the factor that a direction moves most moves by `wanted`, either way:
    in proportion from the last one tried, between those known to be too weak and too strong.

    For directions that no factor names. It costs half of what `strength_for` does and is reached
    within a fifth of `wanted`; else the strength tried that came nearest is returned.

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
        strength = (
            guess if low < guess < high else (low * high) ** 0.5 if 0 < low < high < most else guess
        )
    nearest = min(tried, key=lambda pair: (abs(pair[1] - wanted), pair[0]))
    return Matched(*nearest, False, tuple(tried))


def _largest(changes: Float[Tensor, "image factor"]) -> float:
    """The mean change of the factor that moves most; infinite where most images cannot be read: the
    edit is too strong, whatever the rest of them do.
    """
    readable = ~changes.isnan().any(dim=1)
    if 2 * int(readable.sum()) <= len(changes):
        return math.inf
    return float(changes[readable].mean(dim=0).abs().max())


def _falling(tried: list[tuple[float, float]]) -> bool:
    effects = [found for _, found in tried]
    peak = max(effects)
    return len(effects) > 2 and peak > 0 and all(found < 0.5 * peak for found in effects[-2:])
