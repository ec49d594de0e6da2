"""A top-k sparse autoencoder on recorded activations."""

import math
import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import Activations, InputError, Progress, silent
from interp.decompose.checks import column_mean, fitted_from, require_n_features, require_positive, require_rows, row_chunks
from interp.decompose.dictionary import Dictionary, Method

WARM_UP = 0.05
DECAY = 0.2
AUXILIARY_WEIGHT = 1 / 32
# A latent is dead when it was silent for this many rows in a row, or for a tenth of the training where that is shorter.
DEAD_AFTER_ROWS = 100_000
BETAS = (0.9, 0.999)


def top_k(latents: Float[Tensor, "row feature"], k: int) -> Float[Tensor, "row feature"]:
    """ReLU, then every row's `k` largest; the others zero."""
    values, places = latents.relu().topk(k, dim=1)
    return torch.zeros_like(latents).scatter(1, places, values)


@dataclass(frozen=True, eq=False)
class Sae(Dictionary):
    """A top-k autoencoder: `coefficients = top_k(relu((acts − offset) @ encoder + encoder_bias))`, decoded by unit directions plus the
    offset.

    `encoder [d, feature]` and `encoder_bias [feature]` act on raw activations; at most `k` coefficients of a row are not zero. `trace
    [step]` is the relative squared error of every training batch.
    """

    encoder: Float[Tensor, "d feature"]
    encoder_bias: Float[Tensor, " feature"]
    k: int
    trace: Float[Tensor, " step"]

    method: ClassVar[Method] = "sae"

    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        return top_k((values - self.offset) @ self.encoder + self.encoder_bias, self.k)


def fit_sae(
    acts: Activations | Float[Tensor, "row d"],
    n_features: int,
    *,
    k: int = 8,
    steps: int = 3000,
    batch_size: int = 512,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Progress = silent,
) -> Sae:
    """Train a top-k sparse autoencoder.

    `min E‖acts − decode(top_k(relu(encode(acts − offset))))‖² + auxiliary/32`, where the auxiliary loss lets dead latents reconstruct the
    residual. Inputs are scaled by one number, folded back at the end; the decoder starts as the encoder's transpose and its rows have
    unit norm at every step; the learning rate warms up over the first 5 % of the steps and decays linearly over the last 20 %.

    Args:
        acts: `[row, d]`; each batch is drawn with replacement and converted to float32.
        n_features: at most the number of rows.
        k: active features per row, at most `n_features`.
        steps: optimiser steps (Adam).
        learning_rate: of rows scaled to a root mean square of 1 per entry.

    Raises:
        InputError: an argument is out of range, or the activations are empty, not finite or all zero.

    Source: Gao et al. 2024 (arXiv 2406.04093), sections 2.3 and A. Cost: `12·steps·batch·d·feature` FLOP; memory 4 × the parameters.

    Example:
        >>> sae = fit_sae(acts, 100, k=8, seed=0)
        >>> (sae.encode(acts) > 0).sum(dim=1).max()
    """
    values = require_rows(acts)
    require_n_features(n_features, len(values), "the number of rows")
    require_positive({"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate})
    if not 1 <= k <= n_features:
        raise InputError(f"k is {k}; expected between 1 and n_features={n_features}")
    started = time.perf_counter()
    trainer = _Trainer(values, n_features, k, min(DEAD_AFTER_ROWS, steps * batch_size // 10), seed)
    losses = []
    for step in range(steps):
        losses.append(trainer.step(batch_size, learning_rate * schedule(step, steps)))
        progress("sparse autoencoder", step + 1, steps, "steps")
    parameters = {
        "n_features": n_features,
        "k": k,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "scale": trainer.scale,
    }
    return Sae(
        directions=trainer.decoder.detach(),
        offset=trainer.offset.detach() / trainer.scale,
        provenance=fitted_from(acts, "sae", parameters, seed, {"seconds": time.perf_counter() - started}),
        encoder=trainer.encoder.detach(),
        encoder_bias=trainer.bias.detach() / trainer.scale,
        k=k,
        trace=torch.stack(losses).cpu(),
    )


def schedule(step: int, steps: int) -> float:
    """The learning rate's factor: a linear warm-up, a plateau, a linear decay."""
    return min(1.0, (step + 1) / max(1.0, WARM_UP * steps), (steps - step) / max(1.0, DECAY * steps))


class _Trainer:
    """Parameters and Adam state, in the space of scaled activations."""

    def __init__(self, values: Float[Tensor, "row d"], n_features: int, k: int, dead_after: int, seed: int) -> None:
        self.values, self.k, self.dead_after = values, k, dead_after
        self.generator = torch.Generator().manual_seed(seed)
        mean, self.scale = _location_and_scale(values)
        decoder = torch.randn(n_features, values.shape[1], generator=self.generator).to(values.device)
        self.decoder = (decoder / decoder.norm(dim=1, keepdim=True)).requires_grad_()
        self.encoder = self.decoder.detach().T.contiguous().requires_grad_()
        self.bias = torch.zeros(n_features, device=values.device, requires_grad=True)
        self.offset = (mean * self.scale).requires_grad_()
        self.silent_rows = torch.zeros(n_features, device=values.device)
        self.optimiser = torch.optim.Adam([self.decoder, self.encoder, self.bias, self.offset], betas=BETAS)

    def step(self, batch_size: int, rate: float) -> Float[Tensor, ""]:
        """One batch; its relative squared error."""
        rows = torch.randint(len(self.values), (batch_size,), generator=self.generator).to(self.values.device)
        batch = self.values[rows].detach().to(torch.float32) * self.scale
        with torch.enable_grad():
            loss, error = self._loss(batch)
            self.optimiser.zero_grad()
            torch.autograd.backward(loss)
        with torch.no_grad():
            assert self.decoder.grad is not None
            self.decoder.grad -= (self.decoder.grad * self.decoder).sum(dim=1, keepdim=True) * self.decoder
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.step()
            self.decoder /= self.decoder.norm(dim=1, keepdim=True)
        return error

    def _loss(self, batch: Float[Tensor, "row d"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        latents = (batch - self.offset) @ self.encoder + self.bias
        codes = top_k(latents, self.k)
        residual = batch - codes @ self.decoder - self.offset
        energy = (batch - batch.mean(dim=0)).square().sum().clamp(min=1e-12)
        error = residual.square().sum() / energy
        fired = (codes > 0).any(dim=0)
        self.silent_rows = torch.where(fired, 0, self.silent_rows + len(batch))
        dead = torch.nonzero(self.silent_rows >= self.dead_after).flatten()
        if len(dead) == 0:
            return error, error.detach()
        return error + AUXILIARY_WEIGHT * self._auxiliary(latents, residual.detach(), dead), error.detach()

    def _auxiliary(
        self, latents: Float[Tensor, "row feature"], residual: Float[Tensor, "row d"], dead: Int[Tensor, " dead"]
    ) -> Float[Tensor, ""]:
        """How badly the dead latents alone reconstruct the residual, relative to it."""
        codes = top_k(latents[:, dead], min(len(dead), max(1, math.ceil(latents.shape[1] / 4))))
        return (residual - codes @ self.decoder[dead]).square().sum() / residual.square().sum().clamp(min=1e-12)


@torch.no_grad()
def _location_and_scale(values: Float[Tensor, "row d"]) -> tuple[Float[Tensor, " d"], float]:
    """The rows' mean, and the factor that brings the median distance from it to √d (the median: massive rows must not set it)."""
    mean = column_mean(values)
    distance = torch.cat([(chunk - mean).norm(dim=1) for _, chunk in row_chunks(values)])
    typical = float(distance.median()) or float(distance.max()) or float(mean.norm())
    return mean, math.sqrt(values.shape[1]) / typical
