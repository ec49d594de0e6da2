"""Which latents of a sparse autoencoder are active in training, and the loss's slope by what
decides it: one rule per variant.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.decompose.sae.entries import Entries

Variant = Literal["topk", "batch_topk", "jumprelu", "gated"]
Active = tuple[Entries, Float[Tensor, " entry"]]
Slopes = tuple[Float[Tensor, " entry"], Float[Tensor, " entry"]]

# JumpReLU: kernel width in standard deviations of the first latents, weight of the penalty
# (L0/k − 1)², and how many times faster than the weights the log thresholds move (they must keep
# up with growing latents).
BANDWIDTH = 0.5
PENALTY = 1.0
SPEED = 10.0
# Gated: the initial L1 weight (times √d for rows of squared norm d), and the share of the steps in
# which it can grow e-fold.
FIRST_L1 = 0.02
ADAPTATION = 0.02


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One forward pass: scaled rows less the offset, latents, active entries and their codes, the
    loss's factor `−2/energy`, and its `slopes` by the codes.
    """

    rows: Float[Tensor, "row d"]
    latents: Float[Tensor, "row feature"]
    entries: Entries
    codes: Float[Tensor, " entry"]
    factor: Float[Tensor, ""]
    slopes: Float[Tensor, " entry"]


@dataclass(frozen=True)
class Folded:
    """A trained rule as `relu(latents) where latents > threshold` with
    `latents = gain · (rows @ encoder) + bias`.
    """

    gain: Float[Tensor, " feature"]
    bias: Float[Tensor, " feature"]
    threshold: Float[Tensor, " feature"]


class Rule(ABC):
    """How latents become coefficients during training; `parameters`, of which the latents'
    `bias [feature]` is one, are learned besides encoder and decoder.
    """

    def __init__(self, k: int, n_features: int, device: torch.device) -> None:
        self.k = k
        self.bias = torch.zeros(n_features, device=device)
        self.parameters: tuple[Tensor, ...] = (self.bias,)
        self.steps = 1

    def start(self, latents: Float[Tensor, "row feature"], steps: int) -> None:
        """Set what depends on the scale of the first latents and the number of steps."""
        self.steps = steps

    @abstractmethod
    def choose(self, latents: Float[Tensor, "row feature"]) -> Active:
        """The entries that can matter and their coefficients, some perhaps zero."""

    def slopes(self, done: Pass, decoder: Float[Tensor, "feature d"]) -> Slopes:
        """The loss's slopes by `rows @ encoder` and by the bias at the entries; sets the gradients
        of the rule's other parameters.
        """
        through = done.slopes * (done.codes > 0)
        return through, through

    def fold(self, latents: list[Float[Tensor, "row feature"]]) -> Folded:
        """The rule for single rows, given the latents of some batches after training."""
        return Folded(torch.ones_like(self.bias), self.bias, torch.zeros_like(self.bias))


class TopK(Rule):
    """Each row's k largest (Gao et al. 2024)."""

    def choose(self, latents: Float[Tensor, "row feature"]) -> Active:
        values, places = latents.topk(self.k, dim=1, sorted=False)
        return Entries.equally_many(places, latents.shape[1]), values.relu().flatten()


class BatchTopK(Rule):
    """The k·batch largest of a batch; for single rows a threshold, the mean over batches of the
    smallest value kept (Bussmann et al. 2024)."""

    def choose(self, latents: Float[Tensor, "row feature"]) -> Active:
        largest = latents.flatten().topk(self.k * len(latents), sorted=False).indices.sort().values
        return Entries.numbered(largest, *latents.shape), latents.flatten()[largest].relu()

    def fold(self, latents: list[Float[Tensor, "row feature"]]) -> Folded:
        smallest = [least_kept(own, self.k).relu() for own in latents]
        return Folded(
            torch.ones_like(self.bias),
            self.bias,
            torch.zeros_like(self.bias) + torch.stack(smallest).mean(),
        )


class JumpRelu(Rule):
    """A learned threshold per feature (Rajamanoharan et al. 2024, "Jumping ahead").

    The loss gains `(L0/k − 1)²`. Gradients by a threshold come from the latents near it, with a
    rectangular kernel of width ε: `∂code/∂θ = −(θ/ε)·[|latent − θ| < ε/2]` and
    `∂L0/∂θ = −(1/ε)·[the same]`. Thresholds start where L0 is k.
    """

    def __init__(self, k: int, n_features: int, device: torch.device) -> None:
        super().__init__(k, n_features, device)
        self.exponent = torch.zeros_like(self.bias)
        self.parameters = (self.bias, self.exponent)
        self.bandwidth = 1.0

    def start(self, latents: Float[Tensor, "row feature"], steps: int) -> None:
        super().start(latents, steps)
        spread = float(latents.std())
        self.bandwidth = BANDWIDTH * spread
        self.exponent.fill_(
            math.log(max(float(least_kept(latents, self.k)), 1e-3 * spread, 1e-12)) / SPEED
        )

    def choose(self, latents: Float[Tensor, "row feature"]) -> Active:
        threshold = self._threshold()
        entries = Entries.where(latents > threshold - self.bandwidth / 2)
        values = entries.take(latents)
        return entries, torch.where(values > threshold[entries.feature], values, 0.0)

    def slopes(self, done: Pass, decoder: Float[Tensor, "feature d"]) -> Slopes:
        threshold, n_rows = self._threshold(), len(done.rows)
        near = (
            done.entries.take(done.latents) - threshold[done.entries.feature]
        ).abs() < self.bandwidth / 2
        excess = (done.codes > 0).sum() / (n_rows * self.k) - 1
        by_l0 = PENALTY * 2 * excess / (n_rows * self.k)
        by_threshold = (
            -(
                threshold * done.entries.total(near * done.slopes)
                + by_l0 * done.entries.total(near.float())
            )
            / self.bandwidth
        )
        self.exponent.grad = SPEED * threshold * by_threshold
        return super().slopes(done, decoder)

    def fold(self, latents: list[Float[Tensor, "row feature"]]) -> Folded:
        return Folded(torch.ones_like(self.bias), self.bias, self._threshold())

    def _threshold(self) -> Float[Tensor, " feature"]:
        return (SPEED * self.exponent).exp()


class Gated(Rule):
    """A gate (whether) and a magnitude (how much) with tied weights (Rajamanoharan et al. 2024,
    "Improving dictionary learning").

    The latents are the gate's, `π = rows @ encoder + bias`; the magnitude is
    `e^r · (rows @ encoder) + b`. Only the gate is penalised, `λ·Σ relu(π)`, and must reconstruct
    the rows by itself through a frozen decoder. λ rises while L0 is above k and falls below it.
    """

    def __init__(self, k: int, n_features: int, device: torch.device) -> None:
        super().__init__(k, n_features, device)
        self.log_gain = torch.zeros_like(self.bias)
        self.magnitude_bias = torch.zeros_like(self.bias)
        self.parameters = (self.bias, self.log_gain, self.magnitude_bias)
        self.l1 = FIRST_L1

    def choose(self, latents: Float[Tensor, "row feature"]) -> Active:
        entries = Entries.where(latents > 0)
        gain = self.log_gain.exp()[entries.feature]
        product = entries.take(latents) - self.bias[entries.feature]
        return entries, (gain * product + self.magnitude_bias[entries.feature]).relu()

    def slopes(self, done: Pass, decoder: Float[Tensor, "feature d"]) -> Slopes:
        entries, gate = done.entries, done.entries.take(done.latents)
        gain = self.log_gain.exp()[entries.feature]
        by_magnitude = done.slopes * (done.codes > 0)
        self.log_gain.grad = entries.total(
            by_magnitude * gain * (gate - self.bias[entries.feature])
        )
        self.magnitude_bias.grad = entries.total(by_magnitude)
        shadow, dots = entries.decode(gate, decoder)
        width = done.rows.shape[1]
        by_gate = done.factor * (dots(done.rows - shadow) - self.l1 * math.sqrt(width) / 2)
        self._adapt(float((done.codes > 0).sum()) / len(done.rows))
        return by_magnitude * gain + by_gate, by_gate

    def fold(self, latents: list[Float[Tensor, "row feature"]]) -> Folded:
        gain = self.log_gain.exp()
        return Folded(gain, self.magnitude_bias.clone(), self.magnitude_bias - gain * self.bias)

    def _adapt(self, l0: float) -> None:
        self.l1 *= math.exp(
            max(-1.0, min(1.0, l0 / self.k - 1)) / max(1.0, ADAPTATION * self.steps)
        )


def least_kept(latents: Float[Tensor, "row feature"], k: int) -> Float[Tensor, ""]:
    """The smallest of the k·row largest latents."""
    return latents.flatten().topk(k * len(latents), sorted=False).values.min()
