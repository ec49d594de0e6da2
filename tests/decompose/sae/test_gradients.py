"""The gradients that training writes out are those of the losses that the docstrings state, by
autograd.
"""

import math

import pytest
import torch

from interp.decompose.sae import rules as sae_rules
from interp.decompose.sae import training as sae_training
from interp.decompose.sae.entries import Entries

ROWS, WIDTH, FEATURES, K = 24, 10, 7, 2


@pytest.fixture
def batch():
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0)) + 0.5


class Kept(sae_training.Trainer):
    """A trainer that stops short of changing anything."""

    def __init__(self, variant, *, silent=False):
        generator = torch.Generator().manual_seed(1)
        rule = sae_training.RULES[variant](K, FEATURES, torch.device("cpu"))
        start = torch.randn(FEATURES, WIDTH, generator=generator)
        super().__init__(rule, start, torch.full((WIDTH,), 0.4), 10**9)
        self.encoder += 0.3 * torch.randn(FEATURES, WIDTH, generator=generator)
        rule.start(self.latents(torch.randn(64, WIDTH, generator=generator)), 100)
        rule.bias += 0.2 * torch.randn(FEATURES, generator=generator)
        if silent:
            # Latents that are positive but too small to be among the k largest.
            self.silent_rows[[1, 4]] = 10**10
            self.encoder[[1, 4]] *= 0.05
            rule.bias += 2.0
            rule.bias[[1, 4]] = 0.05
        self.before = {
            "decoder": self.decoder,
            "encoder": self.encoder,
            "bias": rule.bias,
            "offset": self.offset,
        }
        self.before |= {
            name: getattr(rule, name)
            for name in ("exponent", "log_gain", "magnitude_bias")
            if hasattr(rule, name)
        }
        self.before = {name: value.clone().requires_grad_() for name, value in self.before.items()}


def written(trainer, batch):
    """The gradients of one step, that of the decoder without its part along the direction."""
    trainer.step(batch, 0.0)
    rule = trainer.rule
    return {
        name: getattr(trainer if hasattr(trainer, name) else rule, name).grad
        for name in trainer.before
    }


def stated(trainer, loss):
    grads = dict(
        zip(
            trainer.before,
            torch.autograd.grad(loss, list(trainer.before.values()), allow_unused=True),
            strict=True,
        )
    )
    decoder = trainer.before["decoder"].detach()
    grads["decoder"] = (
        grads["decoder"] - (grads["decoder"] * decoder).sum(dim=1, keepdim=True) * decoder
    )
    return grads


def compare(trainer, batch, loss):
    ours, theirs = written(trainer, batch), stated(trainer, loss)
    for name, gradient in theirs.items():
        assert bool(gradient.abs().sum() > 0), f"{name}: a gradient of zero would prove nothing"
        torch.testing.assert_close(
            ours[name],
            gradient,
            rtol=1e-3,
            atol=1e-5,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def forward(trainer, batch):
    parts = trainer.before
    return (
        parts,
        (batch - parts["offset"]) @ parts["encoder"].T + parts["bias"],
        (batch - batch.mean(dim=0)).square().sum(),
    )


@pytest.mark.parametrize("silent", [False, True])
def test_top_k_with_and_without_dead_latents(batch, silent):
    trainer = Kept("topk", silent=silent)
    parts, latents, energy = forward(trainer, batch)
    places = latents.topk(K, dim=1).indices
    codes = torch.zeros_like(latents).scatter(1, places, latents.relu().gather(1, places))
    residual = batch - codes @ parts["decoder"] - parts["offset"]
    loss = residual.square().sum() / energy
    if silent:
        dead = [1, 4]
        assert not codes[:, dead].any()
        alone = latents[:, dead].relu()
        missing = residual.detach() - alone @ parts["decoder"][dead]
        loss = loss + missing.square().sum() / residual.detach().square().sum() / 32
    compare(trainer, batch, loss)


def test_batch_top_k(batch):
    trainer = Kept("batch_topk")
    parts, latents, energy = forward(trainer, batch)
    least = latents.flatten().sort(descending=True).values[K * ROWS - 1]
    codes = latents.relu() * (latents >= least)
    assert len(set((codes > 0).sum(dim=1).tolist())) > 1
    compare(
        trainer, batch, (batch - codes @ parts["decoder"] - parts["offset"]).square().sum() / energy
    )


class Jump(torch.autograd.Function):
    """The paper's pseudo-derivatives: of z·H(z − θ), and of H(z − θ), by z and by θ."""

    @staticmethod
    def forward(ctx, z, threshold, width):
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        on = (z > threshold).float()
        return z * on, on

    @staticmethod
    def backward(ctx, by_value, by_on):
        z, threshold = ctx.saved_tensors
        near = ((z - threshold).abs() < ctx.width / 2).float() / ctx.width
        return by_value * (z > threshold), -(near * (threshold * by_value + by_on)).sum(dim=0), None


def test_jump_relu(batch, monkeypatch):
    monkeypatch.setattr(sae_rules, "BANDWIDTH", 1.5)
    trainer = Kept("jumprelu")
    parts, latents, energy = forward(trainer, batch)
    codes, on = Jump.apply(
        latents, (sae_rules.SPEED * parts["exponent"]).exp(), trainer.rule.bandwidth
    )
    error = (batch - codes @ parts["decoder"] - parts["offset"]).square().sum() / energy
    l0 = on.sum() / ROWS
    assert l0.item() != K
    compare(trainer, batch, error + sae_rules.PENALTY * (l0 / K - 1).square())


def test_gated(batch):
    trainer = Kept("gated")
    trainer.rule.log_gain += torch.linspace(-0.3, 0.3, FEATURES)
    trainer.rule.magnitude_bias += torch.linspace(0.2, -0.2, FEATURES)
    trainer.before |= {
        name: getattr(trainer.rule, name).clone().requires_grad_()
        for name in ("log_gain", "magnitude_bias")
    }
    parts, gate, energy = forward(trainer, batch)
    magnitude = parts["log_gain"].exp() * (gate - parts["bias"]) + parts["magnitude_bias"]
    codes = (gate > 0) * magnitude.relu()
    error = (batch - codes @ parts["decoder"] - parts["offset"]).square().sum()
    shadow = batch - gate.relu() @ parts["decoder"].detach()
    # The paper freezes the whole decoder here, its bias with it; as the encoder's input the bias
    # still learns.
    auxiliary = (shadow - parts["offset"].detach()).square().sum()
    penalty = trainer.rule.l1 * math.sqrt(WIDTH) * gate.relu().sum()
    compare(trainer, batch, (error + auxiliary + penalty) / energy)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.9])
def test_products_of_entries_are_the_dense_products(density):
    generator = torch.Generator().manual_seed(3)
    matrix = torch.randn(9, 6, generator=generator) * (
        torch.rand(9, 6, generator=generator) < density
    )
    matrix[4], matrix[8], matrix[:, 2], matrix[:, 5] = 0.0, 0.0, 0.0, 0.0
    directions, rows = (
        torch.randn(6, 4, generator=generator),
        torch.randn(9, 4, generator=generator),
    )
    entries = Entries.where(matrix != 0)
    values = entries.take(matrix)
    product, dots = entries.decode(values, directions)
    torch.testing.assert_close(product, matrix @ directions)
    torch.testing.assert_close(dots(rows), (rows @ directions.T)[matrix != 0])
    torch.testing.assert_close(entries.gather(values, rows), matrix.T @ rows)
    torch.testing.assert_close(entries.total(values), matrix.sum(dim=0))
