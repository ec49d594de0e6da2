"""Strength by effect: the multiple of a direction that changes the next token by a given KL."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from interp.capture import Add, record
from interp.core import InputError, Progress, silent
from interp.models.adapters.transformer import TransformerModel
from interp.models.suffix import Suffix

TOKENS_PER_CALL = 1024
GRID = (0.02, 10.0, 14)
ROUNDS = 15
RELATIVE_TOLERANCE = 0.05
BELOW_GRID = 1e-3
"""How far below the grid's weakest strength targets are sought; divergence is quadratic in strength
there.
"""
SMALLEST = 1e-12
LENGTH = 1e-6


@dataclass(frozen=True)
class Calibration:
    """The strengths of some directions at one site.

    `alpha [direction, target]` multiplies the unit direction; `kl [direction, target]` is the
    divergence measured at it, within 5 % of the target where `reached` is True. Elsewhere no
    strength up to ten times the site's typical norm had that effect, and `kl` is the largest seen.
    """

    targets: tuple[float, ...]
    alpha: Float[Tensor, "direction target"]
    kl: Float[Tensor, "direction target"]

    @property
    def reached(self) -> Tensor:
        """Which targets were met."""
        goals = torch.tensor(self.targets)
        return (self.kl / goals - 1).abs() <= RELATIVE_TOLERANCE


def steering_kl(
    model: TransformerModel, prompts: Sequence[str], site: str, vectors: Float[Tensor, "cell d"]
) -> Float[Tensor, " cell"]:
    """`KL(unsteered ‖ steered)` of the next token (nats) for each vector added at a site, mean over
    prompts.

    Raises:
        InputError: the vectors are not as wide as the site.

    Cost: one forward call from the site on per about 1,024 tokens; a call serves many vectors.
    """
    return _Effects(model, prompts, site).kl(vectors)


def calibrate(
    model: TransformerModel,
    prompts: Sequence[str],
    site: str,
    directions: Float[Tensor, "direction d"],
    targets: Sequence[float],
    *,
    progress: Progress = silent,
) -> Calibration:
    """The strength at which each direction's effect is each target KL.

    A grid over almost three decades, in units of the site's typical norm, brackets each target
    where the divergence first crosses it; false position in log-log coordinates, with every third
    step a bisection, then closes in to 5 %. All directions share forward calls.

    Args:
        directions: of any length but zero; the opposite sign is another direction.
        targets: KL divergences in nats.

    Raises:
        InputError: a target is not positive, a direction is zero or of another width than the site,
            or the site's values are all zero.

    Cost: at most 14 grid points and 15 rounds (mostly 2 or 3), each `directions·prompts` short
    forward passes from the site on, batched; what comes before the site is computed once.

    Example:
        >>> found = calibrate(model, ["I think that"], "L20.resid_post", directions, [0.15, 0.5])
        >>> found.alpha[found.reached]
    """
    if not targets or not all(0 < target < math.inf for target in targets):
        raise InputError(
            f"target KL divergences must be positive, got {tuple(targets)}; 0.1 to 1 nat is usual"
        )
    lengths = directions.norm(dim=1)
    if not bool((lengths > LENGTH).all()):
        dead = int(torch.nonzero(~(lengths > LENGTH))[0])
        raise InputError(
            f"direction {dead} at {site} has no length or is not finite (its feature never "
            "fires?); leave it out"
        )
    unit = torch.nn.functional.normalize(directions.float(), dim=1).cpu()
    grid = typical_norm(model, prompts, site) * torch.logspace(
        math.log10(GRID[0]), math.log10(GRID[1]), int(GRID[2])
    )
    effects = _Effects(model, prompts, site)
    curve = _curve(effects, unit, grid, max(targets), progress)
    search = _Search.bracketed(grid, curve, torch.tensor(tuple(targets)))
    for number in range(ROUNDS):
        cells = torch.nonzero(search.open, as_tuple=True)
        if not len(cells[0]):
            break
        trial = search.trial(bisect=number % 3 == 2)[cells]
        search.narrow(cells, trial, effects.kl(unit[cells[0]] * trial.exp()[:, None]))
    return Calibration(tuple(targets), search.best.exp(), search.best_kl)


def typical_norm(model: TransformerModel, prompts: Sequence[str], site: str) -> float:
    """The median norm of a site's rows without first positions: the natural unit of strength.

    Raises:
        InputError: it is zero, or no prompt has a second token.
    """
    norm = float(record(model, list(prompts), site).values.float().norm(dim=1).median())
    if not norm > 0:
        raise InputError(
            f"{site} holds only zeros for these prompts, so strengths there have no unit; choose "
            "another site or prompts"
        )
    return norm


def _curve(
    effects: "_Effects", unit: Tensor, grid: Tensor, highest: float, progress: Progress
) -> Float[Tensor, "direction strength"]:
    """The divergence at each strength of a rising grid; infinite (not measured) beyond the first
    above the highest target.
    """
    curve = torch.full((len(unit), len(grid)), torch.inf)
    below = torch.arange(len(unit))
    for number, alpha in enumerate(grid):
        if len(below):
            curve[below, number] = effects.kl(unit[below] * alpha)
            below = below[curve[below, number] < highest]
        progress(f"calibrate at {effects.site}", number + 1, len(grid), "strength")
    return curve


class _Effects:
    """The effect of vectors at a site on the next token; the network before the site runs once."""

    def __init__(self, model: TransformerModel, prompts: Sequence[str], site: str) -> None:
        batch = model.prepare(list(prompts), batch_size=len(prompts), padding="left").batches[0]
        self.site, self._width = site, model.sites.width(site)
        self._rest = Suffix(model, batch, site, logits_to_keep=1)
        self._plain = torch.log_softmax(self._rest.plain[:, -1].float(), dim=-1)
        self._size = max(1, TOKENS_PER_CALL // batch.inputs["input_ids"].numel())

    def kl(self, vectors: Float[Tensor, "cell d"]) -> Float[Tensor, " cell"]:
        """`KL(unsteered ‖ steered)` of every vector, mean over prompts."""
        if vectors.shape[1] != self._width:
            raise InputError(
                f"directions for {self.site} are {vectors.shape[1]} wide but the site "
                f"{self._width}; use directions of that site"
            )
        return torch.cat([self._kl(some) for some in torch.split(vectors, self._size)])

    def _kl(self, vectors: Tensor) -> Tensor:
        logits = self._rest.logits(Add(vectors), times=len(vectors))
        last = rearrange(
            logits[:, -1], "(cell prompt) token -> cell prompt token", cell=len(vectors)
        )
        steered = torch.log_softmax(last.float(), dim=-1)
        divergence = (self._plain.exp() * (self._plain - steered)).sum(dim=-1)
        return divergence.clamp(min=0).mean(dim=1).cpu()


@dataclass(kw_only=True)
class _Search:
    """Brackets `[direction, target]` in log strength, the log divergence at their ends, and the
    best strength so far.
    """

    goals: Float[Tensor, " target"]
    crossed: Bool[Tensor, "direction target"]
    low: Float[Tensor, "direction target"]
    high: Float[Tensor, "direction target"]
    low_kl: Float[Tensor, "direction target"]
    high_kl: Float[Tensor, "direction target"]
    best: Float[Tensor, "direction target"]
    best_kl: Float[Tensor, "direction target"]

    @classmethod
    def bracketed(
        cls,
        grid: Float[Tensor, " strength"],
        curve: Float[Tensor, "direction strength"],
        goals: Tensor,
    ) -> "_Search":
        """Each target between the first strength of a grid whose divergence exceeds it and the
        strength before.
        """
        strengths = torch.cat([grid[:1] * BELOW_GRID, grid]).log()
        logged = torch.cat([curve[:, :1] * BELOW_GRID**2, curve], dim=1).clamp(min=SMALLEST).log()
        above = curve[:, :, None] >= goals
        right = above.float().argmax(dim=1) + 1
        largest = curve.max(dim=1, keepdim=True)
        crossed = above.any(dim=1)
        best = torch.where(crossed, right - 1, largest.indices)
        return cls(
            goals=goals,
            crossed=crossed,
            low=strengths[right - 1],
            high=strengths[right],
            low_kl=logged.gather(1, right - 1),
            high_kl=logged.gather(1, right),
            best=grid[best].log(),
            best_kl=curve.gather(1, best),
        )

    @property
    def open(self) -> Bool[Tensor, "direction target"]:
        """Which targets are bracketed and not yet met."""
        return self.crossed & ((self.best_kl / self.goals - 1).abs() > RELATIVE_TOLERANCE)

    def trial(self, *, bisect: bool) -> Float[Tensor, "direction target"]:
        """The log strength to try next in each bracket."""
        share = (
            (self.goals.log() - self.low_kl) / (self.high_kl - self.low_kl).clamp(min=1e-6)
        ).clamp(0.05, 0.95)
        return self.low + (0.5 if bisect else share) * (self.high - self.low)

    def narrow(
        self, cells: tuple[Tensor, ...], trial: Float[Tensor, " cell"], seen: Float[Tensor, " cell"]
    ) -> None:
        """Update brackets with the divergences measured at some trials."""
        logged, goals = seen.clamp(min=SMALLEST).log(), self.goals[cells[1]]
        over = seen >= goals
        closer = (logged - goals.log()).abs() < (
            self.best_kl[cells].clamp(min=SMALLEST).log() - goals.log()
        ).abs()
        for where, strength, effect, measured in (
            (over, self.high, self.high_kl, logged),
            (~over, self.low, self.low_kl, logged),
            (closer, self.best, self.best_kl, seen),
        ):
            place = tuple(axis[where] for axis in cells)
            strength[place], effect[place] = trial[where], measured[where]
