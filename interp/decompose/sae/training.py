"""Training sparse autoencoders with Adam and hand-written gradients, so that each step has only one
dense product.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import Progress
from interp.decompose.checks import column_mean, row_chunks
from interp.decompose.sae.rules import BatchTopK, Gated, JumpRelu, Pass, Rule, TopK, Variant

WARM_UP = 0.05
DECAY = 0.2
AUXILIARY_WEIGHT = 1 / 32
# A latent is dead after being silent for this many rows, or a tenth of the training if shorter.
DEAD_AFTER_ROWS = 100_000
BETAS = (0.9, 0.999)
FINAL_BATCHES = 16

RULES: dict[str, type[Rule]] = {
    "topk": TopK,
    "batch_topk": BatchTopK,
    "jumprelu": JumpRelu,
    "gated": Gated,
}


def top_k(latents: Float[Tensor, "row feature"], k: int) -> Float[Tensor, "row feature"]:
    """ReLU, then each row's `k` largest; the others zero."""
    values, places = latents.topk(k, dim=1, sorted=False)
    return torch.zeros_like(latents).scatter(1, places, values.relu())


def schedule(step: int, steps: int) -> float:
    """The learning rate's factor: linear warm-up, plateau, linear decay."""
    return min(
        1.0, (step + 1) / max(1.0, WARM_UP * steps), (steps - step) / max(1.0, DECAY * steps)
    )


class Batches:
    """Batches drawn with replacement, scaled by one number to a root mean square of 1 per entry."""

    def __init__(
        self, values: Float[Tensor, "row d"], size: int, generator: torch.Generator
    ) -> None:
        self.values, self.size, self.generator = values, size, generator
        self.mean, self.scale = _location_and_scale(values)

    def draw(self) -> Float[Tensor, "batch d"]:
        """The next batch, in float32."""
        rows = torch.randint(len(self.values), (self.size,), generator=self.generator).to(
            self.values.device
        )
        return self.values.index_select(0, rows).detach().to(torch.float32) * self.scale

    def first(self) -> Float[Tensor, "batch d"]:
        """About two batches of evenly spaced rows; nothing is drawn."""
        every = max(1, len(self.values) // (2 * self.size))
        return self.values[::every][: 2 * self.size].detach().to(torch.float32) * self.scale


@dataclass(frozen=True, kw_only=True)
class Trained:
    """An autoencoder for raw rows, the scale it was trained at, and each batch's relative squared
    error.
    """

    decoder: Float[Tensor, "feature d"]
    offset: Float[Tensor, " d"]
    encoder: Float[Tensor, "d feature"]
    bias: Float[Tensor, " feature"]
    threshold: Float[Tensor, " feature"]
    scale: float
    trace: Float[Tensor, " step"]


class Trainer:
    """Parameters and Adam state of an autoencoder on scaled rows; `encoder` is `[feature, d]`."""

    def __init__(
        self,
        rule: Rule,
        start: Float[Tensor, "feature d"],
        offset: Float[Tensor, " d"],
        dead_after: int,
    ) -> None:
        self.rule, self.dead_after = rule, dead_after
        self.decoder = start / start.norm(dim=1, keepdim=True)
        self.encoder = self.decoder.clone()
        self.offset = offset.clone()
        self.silent_rows = torch.zeros(len(start), device=start.device)
        parameters = [self.decoder, self.encoder, self.offset, *rule.parameters]
        self.optimiser = torch.optim.Adam(parameters, betas=BETAS, fused=True)

    @torch.no_grad()
    def step(self, batch: Float[Tensor, "batch d"], rate: float) -> Float[Tensor, ""]:
        """Learn from a batch; its relative squared error before."""
        rows = batch - self.offset
        latents = self.latents(rows)
        entries, codes = self.rule.choose(latents)
        decoded, dots = entries.decode(codes, self.decoder)
        residual = rows - decoded
        factor = -2 / _energy(rows)
        done = Pass(
            rows=rows,
            latents=latents,
            entries=entries,
            codes=codes,
            factor=factor,
            slopes=factor * dots(residual),
        )
        self._gradients(done, residual)
        self._revive(done, residual)
        self._move(rate)
        return _squared(residual) * factor / -2

    @torch.no_grad()
    def finish(
        self,
        batches: Sequence[Float[Tensor, "batch d"]],
        scale: float,
        trace: Float[Tensor, " step"],
    ) -> Trained:
        """The trained autoencoder for raw rows; a threshold over batches is set on `batches`."""
        folded = self.rule.fold([self.latents(batch - self.offset) for batch in batches])
        encoder = (self.encoder * folded.gain[:, None]).T.contiguous()
        return Trained(
            decoder=self.decoder,
            offset=self.offset / scale,
            encoder=encoder,
            bias=folded.bias / scale,
            threshold=folded.threshold / scale,
            scale=scale,
            trace=trace,
        )

    def latents(self, rows: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        """The encoder's output for rows less the offset."""
        return torch.addmm(self.rule.bias, rows, self.encoder.T)

    def _move(self, rate: float) -> None:
        """Adam's step; the decoder's gradient is projected to keep its rows unit vectors."""
        slope = self.decoder.grad
        assert slope is not None
        slope.addcmul_(torch.linalg.vecdot(slope, self.decoder)[:, None], self.decoder, value=-1)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.decoder /= self.decoder.norm(dim=1, keepdim=True)

    def _gradients(self, done: Pass, residual: Float[Tensor, "row d"]) -> None:
        """Gradients of the relative squared error and of the rule's penalty."""
        by_product, by_bias = self.rule.slopes(done, self.decoder)
        self.decoder.grad = done.entries.gather(done.factor * done.codes, residual)
        self.encoder.grad = done.entries.gather(by_product, done.rows)
        self.rule.bias.grad = done.entries.total(by_bias)
        # The offset is subtracted before the encoder and added after the decoder.
        self.offset.grad = (
            done.factor * residual.sum(dim=0) - done.entries.total(by_product) @ self.encoder
        )

    def _revive(self, done: Pass, residual: Float[Tensor, "row d"]) -> None:
        """The auxiliary loss: the dead latents' relative error on the residual."""
        fired = (
            torch.bincount(done.entries.feature[done.codes > 0], minlength=len(self.decoder)) > 0
        )
        self.silent_rows = torch.where(fired, 0, self.silent_rows + len(residual))
        dead = torch.nonzero(self.silent_rows >= self.dead_after).flatten()
        if len(dead):
            self._auxiliary(done, residual, dead)

    def _auxiliary(
        self, done: Pass, residual: Float[Tensor, "row d"], dead: Int[Tensor, " dead"]
    ) -> None:
        grads = [
            parameter.grad
            for parameter in (self.decoder, self.encoder, self.rule.bias, self.offset)
        ]
        decoder, encoder, bias, offset = [grad for grad in grads if grad is not None]
        directions = self.decoder[dead]
        codes = top_k(
            done.latents[:, dead], min(len(dead), max(1, math.ceil(len(self.decoder) / 4)))
        )
        missing = residual - codes @ directions
        factor = -2 * AUXILIARY_WEIGHT / _squared(residual).clamp(min=1e-12)
        slopes = factor * (missing @ directions.T) * (codes > 0)
        decoder.index_add_(0, dead, factor * (codes.T @ missing))
        encoder.index_add_(0, dead, slopes.T @ done.rows)
        bias.index_add_(0, dead, slopes.sum(dim=0))
        offset -= slopes.sum(dim=0) @ self.encoder[dead]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Arguments of `fit_sae` shared by autoencoders trained together."""

    n_features: int
    variant: Variant
    steps: int
    batch_size: int
    learning_rate: float


def train(
    values: Float[Tensor, "row d"],
    ks: tuple[int, ...],
    settings: Settings,
    seed: int,
    progress: Progress,
) -> list[Trained]:
    """One autoencoder per k, from the same start and on the same batches."""
    n_features, steps = settings.n_features, settings.steps
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n_features, values.shape[1], generator=generator).to(values.device)
    batches = Batches(values, settings.batch_size, generator)
    dead_after = min(DEAD_AFTER_ROWS, steps * settings.batch_size // 10)
    rules = [RULES[settings.variant](k, n_features, values.device) for k in ks]
    trainers = [Trainer(rule, start, batches.mean * batches.scale, dead_after) for rule in rules]
    first = batches.first()
    for trainer in trainers:
        trainer.rule.start(trainer.latents(first - trainer.offset), steps)
    losses: list[list[Tensor]] = [[] for _ in ks]
    for step in range(steps):
        batch, rate = batches.draw(), settings.learning_rate * schedule(step, steps)
        for trainer, own in zip(trainers, losses, strict=True):
            own.append(trainer.step(batch, rate))
        progress("sparse autoencoder", step + 1, steps, "steps")
    final = [batches.draw() for _ in range(FINAL_BATCHES)]
    return [
        trainer.finish(final, batches.scale, torch.stack(own).cpu())
        for trainer, own in zip(trainers, losses, strict=True)
    ]


def _energy(rows: Float[Tensor, "row d"]) -> Float[Tensor, ""]:
    """The summed squared distances of rows from their mean; rows are centred well enough for the
    short formula.
    """
    return (_squared(rows) - len(rows) * _squared(rows.mean(dim=0))).clamp(min=1e-12)


def _squared(values: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    flat = values.flatten()
    return torch.dot(flat, flat)


@torch.no_grad()
def _location_and_scale(values: Float[Tensor, "row d"]) -> tuple[Float[Tensor, " d"], float]:
    """The rows' mean, and the factor that scales the median distance from it to √d (the median, so
    that massive rows do not set it).
    """
    mean = column_mean(values)
    distance = torch.cat([(chunk - mean).norm(dim=1) for _, chunk in row_chunks(values)])
    typical = float(distance.median()) or float(distance.max()) or float(mean.norm())
    return mean, math.sqrt(values.shape[1]) / typical
