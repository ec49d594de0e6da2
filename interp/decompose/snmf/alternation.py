"""The alternation of semi-NMF: each iteration reads the activations once, in chunks, and keeps only
their sums.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.decompose.snmf.nnls import hals_sweep, solve_nnls
from interp.decompose.snmf.scaled import Scaled

RIDGE = 1e-6
BY_ROW = 0.05
"""Below this error it is summed row by row: a difference of large sums would carry their rounding
(3e-7 of the energy).
"""
BLOCK = 16
DIRECTION_SWEEPS = 3
FIRST_SWEEPS = 5
REFIT_SWEEPS = 20

Update = Callable[
    [
        Float[Tensor, "feature column"],
        Float[Tensor, "feature column"],
        Float[Tensor, "feature feature"],
    ],
    None,
]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a fit tightens over its first `steps` iterations.

    A direction's entries shrink geometrically from `width` to `kept`; in the second half surplus
    features are dropped, the least missed first, as one of them has by then found what two shared.
    Directions come from least squares and winner-take-all for `least_squares_steps` iterations
    (which escape poor supports but do not settle), then from truncated descent; `sweeps` is the
    number of sweeps over the coefficients per iteration.
    """

    width: int
    kept: int
    n_started: int
    n_features: int
    steps: int
    least_squares_steps: int
    sweeps: int

    def support(self, step: int) -> int:
        """Entries a direction keeps."""
        if step >= self.steps:
            return self.kept
        return max(
            self.kept, round(self.width * math.pow(self.kept / self.width, step / self.steps))
        )

    def features(self, step: int) -> int:
        """The number of features."""
        if step >= self.steps:
            return self.n_features
        surplus = self.n_started - self.n_features
        return round(self.n_started - surplus * max(0.0, 2 * step / self.steps - 1))


def winners(directions: Float[Tensor, "feature d"], kept: int) -> Float[Tensor, "feature d"]:
    """Each direction's `kept` entries of largest magnitude; the others zero."""
    if kept >= directions.shape[1]:
        return directions
    places = directions.abs().topk(kept, dim=1).indices
    return torch.zeros_like(directions).scatter_(1, places, directions.gather(1, places))


def truncated_descent(
    directions: Float[Tensor, "feature d"],
    cross: Float[Tensor, "feature d"],
    gram: Float[Tensor, "feature feature"],
    kept: int,
    sweeps: int,
) -> Float[Tensor, "feature d"]:
    """Exact minimisation over one direction after another under the limit on its entries: never
    increases the error.

    With the others fixed, the error is `gram[f, f]·‖direction − wanted‖²` up to a constant, so the
    best direction keeps the `kept` largest entries of `wanted`. Features without coefficients
    become zero. Cost: `2·feature²·d` FLOP per sweep.
    """
    moved, curvature = directions.clone(), gram.diagonal().tolist()
    for _ in range(sweeps):
        for start in range(0, len(moved), BLOCK):
            block = slice(start, min(start + BLOCK, len(moved)))
            slope = torch.addmm(cross[block], gram[block], moved, alpha=-1)
            for row, feature in enumerate(range(block.start, block.stop)):
                bend = curvature[feature]
                wanted = torch.add(moved[feature], slope[row], alpha=1 / bend if bend > 0 else 0.0)
                best = winners(wanted[None], kept)[0] if bend > 0 else torch.zeros_like(wanted)
                slope.addr_(gram[block, feature], best - moved[feature], alpha=-1)
                moved[feature] = best
    return moved


def multiplicative_update(
    coefficients: Float[Tensor, "feature column"],
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
) -> None:
    """`y ← y ⊙ sqrt((target⁺ + gram⁻ y) / (target⁻ + gram⁺ y))`, in place (Ding, Li & Jordan 2010,
    eq. 11).
    """
    above = target.clamp(min=0) + gram.neg().clamp_(min=0) @ coefficients
    below = target.neg().clamp_(min=0) + gram.clamp(min=0) @ coefficients
    floor = RIDGE * below.mean() + torch.finfo(below.dtype).tiny
    coefficients.mul_((above / (below + floor)).sqrt_())


@dataclass(frozen=True)
class Best:
    """The directions with the smallest error so far."""

    directions: Float[Tensor, "feature d"]
    loss: float


class Alternation:
    """Alternates between sparse directions and non-negative coefficients.

    After each pass `gram [feature, feature]` and `cross [feature, d]` are the coefficients'
    products with themselves and with the activations: all that the next directions need. `penalty`
    is the cost of a unit of coefficient of a unit direction. It starts from `directions`, if given,
    or from blocks of coefficients `[feature, chunk]`, one per chunk of rows, changed in place.
    """

    def __init__(
        self,
        data: Scaled,
        blocks: list[Float[Tensor, "feature _"]],
        schedule: Schedule,
        *,
        solver: Literal["hals", "multiplicative"],
        generator: torch.Generator,
        directions: Float[Tensor, "feature d"] | None = None,
        penalty: float = 0.0,
    ) -> None:
        self.data = data
        self.penalty = penalty
        self.schedule = schedule
        self.solver = solver
        self.generator = generator
        # One contiguous block per chunk of rows, so that it stays in the cache during its updates.
        self.coefficients = blocks
        self.norms = torch.zeros(len(data.values), device=blocks[0].device)
        self.gram = torch.zeros(len(blocks[0]), len(blocks[0]), device=blocks[0].device)
        self.cross = torch.zeros(len(blocks[0]), data.values.shape[1], device=blocks[0].device)
        self.directions, self.given = self.cross, directions
        self.best = Best(self.cross, float("inf"))
        self.n_steps, self.loss = 0, float("inf")
        for part, (rows, chunk, scale) in zip(self.coefficients, data.chunks(), strict=True):
            self.norms[rows] = torch.linalg.vector_norm(chunk, dim=1).mul_(scale).square_()
            if directions is None:
                self._accumulate(part, chunk, scale)
        self.energy = float(self.norms.sum(dtype=torch.float64))

    def step(self) -> float:
        """Directions from the current coefficients, then better coefficients; their relative
        error.
        """
        directions = self._prune(self._next_directions(), self.schedule.features(self.n_steps))
        norms = directions.norm(dim=1)
        directions = directions / torch.where(norms > 0, norms, 1.0)[:, None]
        dead = torch.nonzero(norms == 0).flatten().tolist()
        if dead:
            self._revive(directions, norms, dead)
        loss = self._pass(directions, norms, self._update())
        if self.n_steps >= self.schedule.steps and loss < self.best.loss:
            self.best = Best(directions, loss)
        self.directions, self.given = directions, None
        self.n_steps += 1
        return loss

    def _next_directions(self) -> Float[Tensor, "feature d"]:
        """Given ones; then least squares and winner-take-all; then truncated descent."""
        if self.given is not None:
            return self.given
        kept = self.schedule.support(self.n_steps)
        if (
            self.solver == "multiplicative"
            or self.n_steps < self.schedule.least_squares_steps
            or kept >= self.directions.shape[1]
        ):
            return winners(self._least_squares(), kept)
        return truncated_descent(self.directions, self.cross, self.gram, kept, DIRECTION_SWEEPS)

    def _update(self) -> Update:
        if self.solver == "multiplicative":
            return multiplicative_update
        if self.given is not None:
            return partial(_sweeps, FIRST_SWEEPS)
        return partial(_sweeps, self.schedule.sweeps)

    def _prune(
        self, directions: Float[Tensor, "feature d"], n_features: int
    ) -> Float[Tensor, "kept d"]:
        """Drop the features that the others replace best, down to `n_features`.

        Losing a feature costs `‖direction‖² / (gram⁻¹)[f, f]` once the others are refitted (Hassibi
        & Stork 1993): little for two features that share a role, whatever their energy.
        """
        if len(directions) <= n_features:
            return directions
        factor, inverse_root = self._factor()
        spread = torch.cholesky_inverse(factor).diagonal() * inverse_root.square()
        cost = torch.where(spread > 0, directions.square().sum(dim=1) / spread, 0.0)
        left = cost.topk(n_features).indices.sort().values
        self.coefficients = [part[left] for part in self.coefficients]
        return directions[left]

    def refit(self, rounds: int) -> float:
        """Alternate exact coefficients and descent from the best directions; the relative error of
        `encode`.
        """
        directions = self.best.directions
        norms = torch.ones(len(directions), device=directions.device)
        for left in reversed(range(rounds)):
            loss = self._pass(directions, norms, _solve)
            if loss <= self.best.loss:
                self.best = Best(directions, loss)
            if not left:
                break
            refitted = truncated_descent(
                directions, self.cross, self.gram, self.schedule.kept, REFIT_SWEEPS
            )
            norms = refitted.norm(dim=1)
            alive = norms > 0
            norms = torch.where(alive, norms, 1.0)
            directions = torch.where(alive[:, None], refitted / norms[:, None], directions)
        return self.best.loss

    def _least_squares(self) -> Float[Tensor, "feature d"]:
        """`(gram + ridge)⁻¹ cross` by Cholesky."""
        factor, inverse_root = self._factor()
        solved = torch.cholesky_solve(self.cross.double() * inverse_root[:, None], factor)
        return (solved * inverse_root[:, None]).float().contiguous()

    def _factor(self) -> tuple[Float[Tensor, "feature feature"], Float[Tensor, " feature"]]:
        """Cholesky factor of the Gram matrix of coefficients scaled to unit norm (to make the ridge
        relative), and the scales.
        """
        root = self.gram.diagonal().double().sqrt()
        inverse_root = torch.where(
            root > 0, 1 / root.clamp(min=torch.finfo(torch.float32).tiny), 0.0
        )
        scaled = self.gram.double() * inverse_root[:, None] * inverse_root
        ridge, failed = RIDGE, 1
        while failed:
            factor, info = torch.linalg.cholesky_ex(
                scaled + ridge * torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
            )
            failed, ridge = int(info), 10 * ridge
        return factor, inverse_root

    def _revive(
        self,
        directions: Float[Tensor, "feature d"],
        norms: Float[Tensor, " feature"],
        dead: list[int],
    ) -> None:
        """Point unused directions at the residuals of the worst explained rows, or at random where
        there is none.
        """
        residual = self._residuals(directions, norms)
        worst = residual.topk(len(dead)).indices.tolist()
        size = self.coefficients[0].shape[1]
        for feature, row in zip(dead, worst, strict=True):
            explained = (self.coefficients[row // size][:, row % size] * norms) @ directions
            lacking = winners((self.data.row(row) - explained)[None], self.schedule.kept)[0]
            if float(lacking.square().sum()) <= RIDGE * self.energy / len(residual):
                lacking = winners(
                    torch.randn(1, directions.shape[1], generator=self.generator),
                    self.schedule.kept,
                )[0].to(directions)
            directions[feature] = lacking / lacking.norm()

    def _residuals(
        self, directions: Float[Tensor, "feature d"], norms: Float[Tensor, " feature"]
    ) -> Float[Tensor, " row"]:
        """Each row's unexplained squared norm: one more reading, so only after features died."""
        directions_gram, residual = directions @ directions.T, self.norms.clone()
        for part, (rows, chunk, scale) in zip(self.coefficients, self.data.chunks(), strict=True):
            scaled = part * norms[:, None]
            residual[rows] += (
                (directions_gram @ scaled - 2 * scale * (directions @ chunk.T)) * scaled
            ).sum(dim=0)
        return residual

    def _pass(
        self,
        directions: Float[Tensor, "feature d"],
        norms: Float[Tensor, " feature"],
        update: Update,
    ) -> float:
        """Read the activations once: update coefficients, accumulate sums, measure the error."""
        directions_gram, burden, by_row = directions @ directions.T, 0.0, self.loss < BY_ROW
        left = torch.zeros((), dtype=torch.float64, device=directions.device)
        self.gram, self.cross = torch.zeros_like(directions_gram), torch.zeros_like(directions)
        for part, (rows, chunk, scale) in zip(self.coefficients, self.data.chunks(), strict=True):
            target = directions @ chunk.T
            target *= scale
            part *= norms[:, None]
            update(part, target - self.penalty if self.penalty else target, directions_gram)
            if by_row:
                left += (
                    self.norms[rows] + ((directions_gram @ part - 2 * target) * part).sum(dim=0)
                ).sum(dtype=torch.float64)
            burden += (
                2 * self.penalty * float(part.sum(dtype=torch.float64)) if self.penalty else 0.0
            )
            self._accumulate(part, chunk, scale)
        if not by_row:
            left = (
                self.energy
                - 2 * (directions.double() * self.cross).sum()
                + (directions_gram.double() * self.gram).sum()
            )
        self.loss = (max(0.0, float(left)) + burden) / self.energy
        return self.loss

    def _accumulate(
        self,
        part: Float[Tensor, "feature chunk"],
        chunk: Float[Tensor, "chunk d"],
        scale: Float[Tensor, " chunk"],
    ) -> None:
        self.gram.addmm_(part, part.T)
        self.cross.addmm_(part * scale, chunk)


def _sweeps(
    count: int,
    coefficients: Float[Tensor, "feature column"],
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
) -> None:
    for _ in range(count):
        hals_sweep(coefficients, target, gram)


def _solve(
    coefficients: Float[Tensor, "feature column"],
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
) -> None:
    coefficients.copy_(solve_nnls(target, gram, start=coefficients))
