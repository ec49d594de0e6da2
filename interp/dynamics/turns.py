"""Does a trajectory turn? Its heading, its largest turn, and a test against straight ones."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.core import InputError
from interp.dynamics.learning_times import Steps, rising, smoothed


@dataclass(frozen=True)
class TurnRule:
    """How turns are found: headings are taken over `window` checkpoints before and after, on a
    trajectory smoothed by `smoothing` checkpoints (standard deviation); a turn changes the heading
    by at least `least` degrees, with a p-value of at most `level`.

    The defaults find a planted right angle in 20 of 20 trajectories of 30 checkpoints with noise of
    0.03 a coordinate (16 of 20 with 0.06), and a turn in 0 of 40 straight ones (3 of 40).
    """

    smoothing: float = 2.0
    window: int = 5
    least: float = 30.0
    level: float = 0.05

    def __post_init__(self) -> None:
        if self.window < 1 or self.smoothing < 0 or not 0 < self.level < 1:
            raise InputError(
                f"window {self.window}, smoothing {self.smoothing}, level {self.level}: give 1 "
                "or more, 0 or more, 0 to 1"
            )


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Where a trajectory turns most.

    `before` and `after` are headings in degrees (0: along the first axis, 90: along the second),
    `angle` their difference, `size` the angle in radians times the shorter of the two ways, which
    the place maximises. `p` is the share of straight trajectories with the same noise whose largest
    turn is at least of this size, `by_chance` that of those that also turn by `least` degrees.
    """

    step: float
    before: float
    after: float
    angle: float
    size: float
    p: float
    by_chance: float
    found: bool

    def __str__(self) -> str:
        word = "turns" if self.found else "no turn"
        return (
            f"{word} at step {self.step:g}: {self.before:.0f}° to {self.after:.0f}° "
            f"({self.angle:+.0f}°, p = {self.p:.3f})"
        )


RULE = TurnRule()


def find_turn(
    steps: Steps,
    way: Float[np.ndarray, "checkpoint 2"],
    rule: TurnRule = RULE,
    *,
    noise: Float[np.ndarray, "place 2"] | None = None,
    resamples: int = 500,
    seed: int = 0,
) -> Turn:
    """The largest turn of a trajectory in two coordinates, and whether it is more than noise.

    The null: the straight line from the first point to the last, with the same progress along it,
    plus noise drawn with replacement. By default the noise is what smoothing removes (scaled up for
    what it leaves); better, give the differences between runs that differ only in their seed.

    Raises:
        InputError: fewer than `2 · window + 1` checkpoints, or coordinates that are not finite.

    Source: the published turns were marked by hand; this rule is ours. Cost: `resamples` passes
    over the trajectory.

    Example:
        >>> find_turn(run.steps, run.coordinates[:, :2]).found
    """
    at = rising(steps)
    way = np.asarray(way, dtype=float)
    if way.shape != (len(at), 2) or len(at) < 2 * rule.window + 1 or not np.isfinite(way).all():
        raise InputError(
            f"{way.shape} coordinates at {len(at)} checkpoints; give two per checkpoint, finite, "
            f"at {2 * rule.window + 1} or more"
        )
    place, angle, size, headings = _largest(smoothed(way, rule.smoothing), rule.window)
    drawn_from = _noise(way, rule.smoothing) if noise is None else np.asarray(noise, dtype=float)
    generator = np.random.default_rng(seed)
    straight = _straight(smoothed(way, rule.smoothing))
    null = []
    for _ in range(resamples):
        made = straight + drawn_from[generator.integers(0, len(drawn_from), len(at))]
        null.append(_largest(smoothed(made, rule.smoothing), rule.window)[1:3])
    sizes, angles = np.array([pair[1] for pair in null]), np.array([abs(pair[0]) for pair in null])
    p = float((1 + (sizes >= size).sum()) / (1 + resamples))
    chance = float(((angles >= np.radians(rule.least)) & (sizes >= size)).mean())
    found = abs(np.degrees(angle)) >= rule.least and p <= rule.level
    return Turn(
        step=float(at[place]),
        before=float(np.degrees(headings[0])),
        after=float(np.degrees(headings[1])),
        angle=float(np.degrees(angle)),
        size=float(size),
        p=p,
        by_chance=chance,
        found=bool(found),
    )


def heading(
    steps: Steps, way: Float[np.ndarray, "checkpoint 2"]
) -> Float[np.ndarray, " checkpoint"]:
    """`θ = atan2(dC₂/dt, dC₁/dt)` at every checkpoint, in radians, unwrapped."""
    speed = np.gradient(np.asarray(way, dtype=float), rising(steps), axis=0)
    return np.asarray(np.unwrap(np.arctan2(speed[:, 1], speed[:, 0])))


def sharpest_step(steps: Steps, way: Float[np.ndarray, "checkpoint 2"]) -> float:
    """The step at which the heading changes fastest, `argmax |dθ/dt|`: for noiseless trajectories.

    Example:
        >>> sharpest_step(
        ...     times, np.stack([1 - np.exp(-4 * times), 1 - np.exp(-0.5 * times)], axis=1)
        ... )
    """
    at = rising(steps)
    rate = np.abs(np.gradient(heading(at, way), at))
    return float(at[int(rate.argmax())])


def _largest(
    way: Float[np.ndarray, "checkpoint 2"], window: int
) -> tuple[int, float, float, tuple[float, float]]:
    """The largest turn: its place, angle, size, and the headings before and after."""
    here = np.arange(window, len(way) - window)
    before, after = way[here] - way[here - window], way[here + window] - way[here]
    headings = np.arctan2(before[:, 1], before[:, 0]), np.arctan2(after[:, 1], after[:, 0])
    angles = (headings[1] - headings[0] + np.pi) % (2 * np.pi) - np.pi
    sizes = np.abs(angles) * np.minimum(
        np.linalg.norm(before, axis=1), np.linalg.norm(after, axis=1)
    )
    best = int(sizes.argmax())
    return (
        int(here[best]),
        float(angles[best]),
        float(sizes[best]),
        (float(headings[0][best]), float(headings[1][best])),
    )


def _straight(way: Float[np.ndarray, "checkpoint 2"]) -> Float[np.ndarray, "checkpoint 2"]:
    """The straight line from first point to last, at the same share of the length covered."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    share = lengths / max(lengths[-1], 1e-12)
    return np.asarray(way[0] + share[:, None] * (way[-1] - way[0]))


def _noise(way: Float[np.ndarray, "checkpoint 2"], sd: float) -> Float[np.ndarray, "checkpoint 2"]:
    """The residual of smoothing, rescaled: of white noise it keeps `1 − 2k₀ + Σk²` of the variance,
    with k the kernel.
    """
    width = sd if sd > 0 else 1.0
    impulse = np.zeros((12 * max(1, round(width)) + 1, 2))
    impulse[len(impulse) // 2] = 1.0
    kernel = smoothed(impulse, width)[:, 0]
    kept = 1 - 2 * kernel[len(kernel) // 2] + float((kernel**2).sum())
    return np.asarray((way - smoothed(way, width)) / np.sqrt(max(kept, 1e-6)))
