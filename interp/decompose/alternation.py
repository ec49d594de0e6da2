"""The alternation behind semi-NMF: it reads the activations once an iteration, chunk by chunk, and keeps only sums that stream."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.decompose.nnls import hals_sweep
from interp.decompose.scaled import Scaled

RIDGE = 1e-6
REFIT_SWEEPS = 20

Update = Callable[[Float[Tensor, "feature column"], Float[Tensor, "feature column"], Float[Tensor, "feature feature"]], None]


@dataclass(frozen=True)
class Schedule:
    """How a fit tightens over its first `steps` iterations.

    A direction's entries shrink geometrically from `width` to `kept`; in the second half the surplus features go, the least used first:
    what two of them shared has by then been found by one.
    """

    width: int
    kept: int
    n_started: int
    n_features: int
    steps: int

    def support(self, step: int) -> int:
        """How many entries a direction keeps."""
        if step >= self.steps:
            return self.kept
        return max(self.kept, round(self.width * (self.kept / self.width) ** (step / self.steps)))

    def features(self, step: int) -> int:
        """How many features there are."""
        if step >= self.steps:
            return self.n_features
        return round(self.n_started - (self.n_started - self.n_features) * max(0.0, 2 * step / self.steps - 1))


def winners(directions: Float[Tensor, "feature d"], kept: int) -> Float[Tensor, "feature d"]:
    """Every direction's `kept` entries of largest magnitude; the others zero."""
    if kept >= directions.shape[1]:
        return directions
    places = directions.abs().topk(kept, dim=1).indices
    return torch.zeros_like(directions).scatter_(1, places, directions.gather(1, places))


def multiplicative_update(
    coefficients: Float[Tensor, "feature column"], target: Float[Tensor, "feature column"], gram: Float[Tensor, "feature feature"]
) -> None:
    """`y ← y ⊙ sqrt((target⁺ + gram⁻ y) / (target⁻ + gram⁺ y))`, in place (Ding, Li & Jordan 2010, eq. 11)."""
    above = target.clamp(min=0) + gram.neg().clamp_(min=0) @ coefficients
    below = target.neg().clamp_(min=0) + gram.clamp(min=0) @ coefficients
    floor = RIDGE * below.mean() + torch.finfo(below.dtype).tiny
    coefficients.mul_((above / (below + floor)).sqrt_())


@dataclass(frozen=True)
class Best:
    """The directions of the smallest error so far."""

    directions: Float[Tensor, "feature d"]
    loss: float


class Alternation:
    """Alternates between sparse directions and non-negative coefficients.

    After every pass `gram [feature, feature]` and `cross [feature, d]` are the coefficients' products with themselves and with the
    activations: all that the next directions need.
    """

    def __init__(
        self,
        data: Scaled,
        first: Float[Tensor, "row feature"],
        schedule: Schedule,
        solver: Literal["hals", "multiplicative"],
        generator: torch.Generator,
    ) -> None:
        self.data = data
        self.schedule = schedule
        self.solver = solver
        self.generator = generator
        # One contiguous [feature, chunk] block for each chunk of rows: it stays in the cache during its updates.
        self.coefficients = [first[rows].T.contiguous() for rows, _, _ in data.chunks()]
        self.norms = torch.cat([(chunk * scale[:, None]).square().sum(dim=1) for _, chunk, scale in data.chunks()])
        self.energy = float(self.norms.sum(dtype=torch.float64))
        self.residual = self.norms.clone()
        width = data.values.shape[1]
        self.gram = torch.zeros(first.shape[1], first.shape[1], device=first.device)
        self.cross = torch.zeros(first.shape[1], width, device=first.device)
        self.best = Best(self.cross, float("inf"))
        self.n_steps = 0
        for part, (_, chunk, scale) in zip(self.coefficients, data.chunks(), strict=True):
            self._accumulate(part, chunk, scale)

    def step(self) -> float:
        """Directions from the current coefficients, then better coefficients; the relative error of the two together."""
        directions = winners(self._least_squares(), self.schedule.support(self.n_steps))
        directions = self._prune(directions, self.schedule.features(self.n_steps))
        norms = directions.norm(dim=1)
        directions = directions / torch.where(norms > 0, norms, 1.0)[:, None]
        dead = torch.nonzero(norms == 0).flatten().tolist()
        if dead:
            self._revive(directions, norms, dead)
        update = hals_sweep if self.solver == "hals" else multiplicative_update
        loss = self._pass(directions, norms, update)
        if self.n_steps >= self.schedule.steps and loss < self.best.loss:
            self.best = Best(directions, loss)
        self.n_steps += 1
        return loss

    def _prune(self, directions: Float[Tensor, "feature d"], n_features: int) -> Float[Tensor, "kept d"]:
        """Drop the features that carry the least energy, so that `n_features` are left."""
        if len(directions) <= n_features:
            return directions
        energy = self.gram.diagonal() * directions.square().sum(dim=1)
        chosen = energy.topk(n_features).indices.sort().values
        self.coefficients = [part[chosen] for part in self.coefficients]
        return directions[chosen]

    def refit(self, rounds: int) -> float:
        """Solve coefficients and kept entries to the end with the support of the best directions held; the relative error of `encode`."""
        directions = self.best.directions
        mask = directions != 0
        ones = torch.ones(len(directions), device=directions.device)
        losses = []
        for _ in range(rounds):
            losses.append(self._pass(directions, ones, _many_sweeps))
            if losses[-1] <= self.best.loss:
                self.best = Best(directions, losses[-1])
            refitted = self._on_support(directions, mask)
            norms = refitted.norm(dim=1)
            alive = norms > 0
            ones = torch.where(alive, norms, 1.0)
            directions = torch.where(alive[:, None], refitted / ones[:, None], directions)
        return self.best.loss

    def _least_squares(self) -> Float[Tensor, "feature d"]:
        """`(gram + ridge)⁻¹ cross` by Cholesky, on coefficients scaled to unit norm so that the ridge is relative for every feature."""
        root = self.gram.diagonal().double().sqrt()
        inverse_root = torch.where(root > 0, 1 / root.clamp(min=torch.finfo(torch.float32).tiny), 0.0)
        scaled = self.gram.double() * inverse_root[:, None] * inverse_root
        ridge, failed = RIDGE, 1
        while failed:
            factor, info = torch.linalg.cholesky_ex(scaled + ridge * torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device))
            failed, ridge = int(info), 10 * ridge
        solved = torch.cholesky_solve(self.cross.double() * inverse_root[:, None], factor)
        return (solved * inverse_root[:, None]).float().contiguous()

    def _on_support(self, directions: Float[Tensor, "feature d"], mask: Tensor) -> Float[Tensor, "feature d"]:
        """Coordinate descent over directions with their support held: never increases the error."""
        refitted = directions.clone()
        curvature = self.gram.diagonal().tolist()
        for _ in range(REFIT_SWEEPS):
            for feature, bend in enumerate(curvature):
                if bend > 0:
                    slope = self.cross[feature] - self.gram[feature] @ refitted
                    refitted[feature] += mask[feature] * slope / bend
        return refitted

    def _revive(self, directions: Float[Tensor, "feature d"], norms: Float[Tensor, " feature"], dead: list[int]) -> None:
        """Point unused directions at what the worst explained rows lack; at random where nothing is lacking."""
        worst = self.residual.topk(len(dead)).indices.tolist()
        size = self.coefficients[0].shape[1]
        for feature, row in zip(dead, worst, strict=True):
            explained = (self.coefficients[row // size][:, row % size] * norms) @ directions
            lacking = winners((self.data.row(row) - explained)[None], self.schedule.kept)[0]
            if float(lacking.square().sum()) <= RIDGE * self.energy / len(self.residual):
                lacking = winners(torch.randn(1, directions.shape[1], generator=self.generator), self.schedule.kept)[0].to(directions)
            directions[feature] = lacking / lacking.norm()

    def _pass(self, directions: Float[Tensor, "feature d"], norms: Float[Tensor, " feature"], update: Update) -> float:
        """Read the activations once: update every chunk's coefficients, add up the sums, and measure the error."""
        directions_gram = directions @ directions.T
        self.gram, self.cross = torch.zeros_like(directions_gram), torch.zeros_like(directions)
        for part, (rows, chunk, scale) in zip(self.coefficients, self.data.chunks(), strict=True):
            target = directions @ chunk.T
            target *= scale
            part *= norms[:, None]
            update(part, target, directions_gram)
            self.residual[rows] = self.norms[rows] + ((directions_gram @ part - 2 * target) * part).sum(dim=0)
            self._accumulate(part, chunk, scale)
        return max(0.0, float(self.residual.sum(dtype=torch.float64))) / self.energy

    def _accumulate(self, part: Float[Tensor, "feature chunk"], chunk: Float[Tensor, "chunk d"], scale: Float[Tensor, " chunk"]) -> None:
        self.gram.addmm_(part, part.T)
        self.cross.addmm_(part * scale, chunk)


def _many_sweeps(
    coefficients: Float[Tensor, "feature column"], target: Float[Tensor, "feature column"], gram: Float[Tensor, "feature feature"]
) -> None:
    for _ in range(REFIT_SWEEPS):
        hals_sweep(coefficients, target, gram)
