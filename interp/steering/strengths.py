"""Strength by effect: find the multiple of a direction whose effect on the next token is a given KL divergence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.capture import Add
from interp.core import InputError, Progress, silent
from interp.models.protocol import Batch
from interp.models.transformer import TransformerModel

TOKENS_PER_CALL = 1024
GRID = (0.02, 10.0, 14)
ROUNDS = 6
RELATIVE_TOLERANCE = 0.05


@dataclass(frozen=True)
class Calibration:
    """The strengths of some directions at one site.

    `alpha [direction, target]` multiplies the unit direction; `kl [direction, target]` is the divergence measured at it, within 5 % of the target where
    `reached` is True. Where it is False, no strength up to ten times the site's typical norm had that effect: `kl` is the largest that was seen.
    """

    targets: tuple[float, ...]
    alpha: Float[Tensor, "direction target"]
    kl: Float[Tensor, "direction target"]

    @property
    def reached(self) -> Tensor:
        """Which targets were met."""
        goals = torch.tensor(self.targets)
        return (self.kl / goals - 1).abs() <= RELATIVE_TOLERANCE


def repeated(batch: Batch, times: int) -> Batch:
    """A batch `times` over, copy after copy: element `cell · n + prompt`."""
    inputs = {key: value.repeat(times, *(1,) * (value.ndim - 1)) for key, value in batch.inputs.items()}
    return Batch(inputs, np.tile(batch.items, times), np.tile(batch.offsets, times))


def steering_kl(model: TransformerModel, prompts: Sequence[str], site: str, vectors: Float[Tensor, "cell d"]) -> Float[Tensor, " cell"]:
    """How far adding each vector at a site moves the next-token distribution: `KL(unsteered ‖ steered)` in nats, mean over prompts.

    Cost: one forward call per about 1,024 tokens; a call serves many vectors.
    """
    batch = model.prepare(list(prompts), batch_size=len(prompts), padding="left").batches[0]
    plain = model.next_token_logprobs(batch)
    size = max(1, TOKENS_PER_CALL // batch.inputs["input_ids"].numel())
    return torch.cat([_kl(model, batch, plain, site, vectors[start : start + size]) for start in range(0, len(vectors), size)])


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

    A grid over three decades, in units of the site's typical norm, brackets each target where the divergence first crosses it; false position
    in log-log coordinates then closes in to 5 %. All open brackets of all directions share forward calls.

    Raises:
        InputError: a target is not positive, or a direction has no length.

    Cost: 14 grid points and at most 6 rounds, each `directions × prompts` short forward passes, batched.
    """
    if not targets or min(targets) <= 0:
        raise InputError(f"target KL divergences must be positive, got {tuple(targets)}")
    if bool((directions.norm(dim=1) < 1e-6).any()):
        dead = int(torch.nonzero(directions.norm(dim=1) < 1e-6)[0])
        raise InputError(f"direction {dead} at {site} has no length (its feature never fires); leave it out")
    unit = torch.nn.functional.normalize(directions.float(), dim=1)
    grid = typical_norm(model, prompts, site) * torch.logspace(*torch.log10(torch.tensor(GRID[:2])).tolist(), int(GRID[2]))
    curve = torch.stack([_step(model, prompts, site, unit, alpha, progress, number) for number, alpha in enumerate(grid)], dim=1)
    return _close_in(model, prompts, site, unit, grid, curve, tuple(targets))


def typical_norm(model: TransformerModel, prompts: Sequence[str], site: str) -> float:
    """The median norm of a site's rows over some prompts, first positions left out: the natural unit of strength there."""
    from interp.capture import record

    return float(record(model, list(prompts), site).values.float().norm(dim=1).median())


def _step(
    model: TransformerModel, prompts: Sequence[str], site: str, unit: Tensor, alpha: Tensor, progress: Progress, number: int
) -> Tensor:
    result = steering_kl(model, prompts, site, unit * alpha)
    progress(f"calibrate at {site}", number + 1, int(GRID[2]), "strength")
    return result


def _kl(model: TransformerModel, batch: Batch, plain: Tensor, site: str, vectors: Tensor) -> Tensor:
    with model.hooked({site: Add(vectors)}):
        steered = model.next_token_logprobs(repeated(batch, len(vectors)))
    steered = steered.reshape(len(vectors), *plain.shape)
    divergence = (plain.exp() * (plain - steered)).sum(dim=-1)
    return divergence.clamp(min=0).mean(dim=1).cpu()


def _close_in(
    model: TransformerModel, prompts: Sequence[str], site: str, unit: Tensor, grid: Tensor, curve: Tensor, targets: tuple[float, ...]
) -> Calibration:
    goals = torch.tensor(targets).expand(len(unit), len(targets))
    above = curve[:, :, None] >= goals[:, None, :]
    crossed = above.any(dim=1)
    right = above.float().argmax(dim=1).clamp(min=1)
    left = right - 1
    low, high = grid[left].log(), grid[right].log()
    low_kl, high_kl = curve.gather(1, left).clamp(min=1e-9).log(), curve.gather(1, right).clamp(min=1e-9).log()
    # A target below the whole curve starts at the first point; one above it stays at the strongest that was tried.
    best, best_kl = torch.where(crossed, high, grid[-1].log()), torch.where(crossed, high_kl.exp(), curve.max(dim=1, keepdim=True).values)
    for _ in range(ROUNDS):
        open_ = crossed & ((best_kl / goals - 1).abs() > RELATIVE_TOLERANCE)
        if not bool(open_.any()):
            break
        share = ((goals.log() - low_kl) / (high_kl - low_kl).clamp(min=1e-6)).clamp(0.1, 0.9)
        trial = low + share * (high - low)
        rows = torch.nonzero(open_, as_tuple=True)
        seen = trial.new_zeros(trial.shape)
        seen[rows] = steering_kl(model, prompts, site, unit[rows[0]] * trial[rows].exp()[:, None])
        best, best_kl = torch.where(open_, trial, best), torch.where(open_, seen, best_kl)
        over = open_ & (seen >= goals)
        under = open_ & ~over
        logged = seen.clamp(min=1e-9).log()
        high, high_kl = torch.where(over, trial, high), torch.where(over, logged, high_kl)
        low, low_kl = torch.where(under, trial, low), torch.where(under, logged, low_kl)
    return Calibration(targets, best.exp(), best_kl)
