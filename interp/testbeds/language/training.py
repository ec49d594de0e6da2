"""Training a tiny GPT-2, with checkpoints that show when it learned what."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from interp.core import InputError, Progress, silent
from interp.core.files import require_writable, write_json
from interp.core.provenance import package_versions, text_hash
from interp.models.weights.identity import module_hash
from interp.testbeds.language.data import IGNORED, Rows, packed, token_shares, train_tokenizer
from interp.testbeds.language.store import (
    RECIPE,
    checkpoint_path,
    empty_network,
    read_checkpoint,
    write_checkpoint,
)
from interp.testbeds.training import CURVE, Trainer, every, stretches, warm_cosine

STATE = "state.safetensors"
CURVE_EVERY = 20
SAVE_EVERY = 100


@dataclass(frozen=True, kw_only=True)
class TinyLanguageSettings:
    """The network and its training; the defaults are the run that ships (1.0 M parameters, 15 min
    on one slow thread).
    """

    vocabulary: int = 1600
    context: int = 64
    width: int = 128
    layers: int = 4
    heads: int = 4
    steps: int = 2400
    checkpoints: int = 25
    batch_size: int = 32
    repeating: int = 8
    learning_rate: float = 2e-3
    final_rate: float = 0.1
    warm_up: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.checkpoints < 2 or self.steps < self.checkpoints:
            raise InputError(
                f"{self.checkpoints} checkpoints of {self.steps} steps; give at least 2, and "
                "no more than steps"
            )

    def architecture(self) -> dict[str, Any]:
        """The arguments of transformers' `GPT2Config`."""
        return {
            "vocab_size": self.vocabulary,
            "n_positions": self.context,
            "n_embd": self.width,
            "n_layer": self.layers,
            "n_head": self.heads,
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
            **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0),
        }


def spaced_steps(steps: int, checkpoints: int, first: int = 4) -> list[int]:
    """Checkpoint steps: 0, then evenly spaced in their square root from `first` to `steps`."""
    roots = np.linspace(math.sqrt(min(first, steps)), math.sqrt(steps), checkpoints - 1)
    return sorted({0, *(round(float(root) ** 2) for root in roots)})


def train_tiny_language(
    texts: Sequence[str],
    folder: str | Path,
    *,
    settings: TinyLanguageSettings = TinyLanguageSettings(),
    data: str = "",
    progress: Progress = silent,
) -> Path:
    """Train a GPT-2 on texts, keep checkpoints (`spaced_steps`), and return the folder.

    The loss is the cross-entropy of the next token. `settings.repeating` rows of every batch are
    repeating random tokens (`Rows`), so that the use of induction is known. AdamW with warm-up and
    cosine decay to a tenth, gradients clipped. The weights depend on the seed alone.

    The folder then holds `step_*.safetensors` (a byte per weight), the tokenizer, `recipe.json`
    (settings, hash of the data, loss due to quantisation, versions) and `curve.json` (mean loss
    over 20 steps on text and on repeats). Until then `state.safetensors` lets a second call with
    the same arguments resume, with the weights of an uninterrupted run.

    Args:
        texts: to train the network and the tokenizer on.
        data: a description of the texts for the recipe.

    Raises:
        InputError: too few texts, or the folder holds another run.
        UnavailableError: the folder cannot be written.

    Source: Radford et al. 2019 for the architecture. Cost: 0.3 s per step of 2,048 tokens on one
    slow core.

    Example:
        >>> train_tiny_language(wordnet_glosses(), "language", data="WordNet 3.0 glosses")
    """
    task = _Task(texts=texts, settings=settings)
    place = require_writable(Path(folder))
    trainer = Trainer(
        module=task.module,
        optimiser=_optimiser(task.module, settings),
        objective=task.loss,
        state=place / STATE,
        identity={"settings or texts": f"{settings} {task.data_hash}"},
        rate=partial(rate, settings=settings),
        clip=settings.clip,
    )
    trainer.resume(finished=(RECIPE,))
    kept = spaced_steps(settings.steps, settings.checkpoints)
    if trainer.step == 0:
        _keep(trainer, place)
    saved = every(SAVE_EVERY, settings.steps)
    for step in trainer.train(
        settings.steps, saved=saved, title="train tiny language", progress=progress
    ):
        if step in kept:
            _keep(trainer, place)
    return _finish(task, trainer, data)


@dataclass(kw_only=True)
class _Task:
    """The network and its data."""

    texts: Sequence[str]
    settings: TinyLanguageSettings

    def __post_init__(self) -> None:
        from transformers import GPT2Config

        settings = self.settings
        self.data_hash = text_hash(self.texts)
        self.tokenizer = train_tokenizer(self.texts, settings.vocabulary)
        self.tokens = packed(self.texts, self.tokenizer)
        self.rows = Rows(
            tokens=self.tokens,
            length=settings.context,
            batch_size=settings.batch_size,
            repeating=settings.repeating,
            seed=settings.seed,
        )
        self.module = empty_network(GPT2Config(**settings.architecture())).train()
        draw_weights(self.module, settings.layers, settings.seed)

    def loss(self, step: int) -> tuple[Float[Tensor, ""], Float[Tensor, "2"]]:
        """The mean loss of a batch; to record, those of its text and of its repeats."""
        losses, counted = self.losses(step)
        text = self.settings.batch_size - self.settings.repeating
        repeats = losses[text:].sum() / counted[text:].sum().clamp(min=1)
        return losses.sum() / counted.sum(), torch.stack([losses[:text].mean(), repeats])

    def losses(
        self, step: int
    ) -> tuple[Float[Tensor, "row predicted"], Bool[Tensor, "row predicted"]]:
        """The loss of every next token of a step's batch, and which tokens count."""
        ids, labels = self.rows.batch(step)
        return token_losses(self.module(ids).logits, labels), labels[:, 1:] != IGNORED


def _optimiser(module: nn.Module, settings: TinyLanguageSettings) -> torch.optim.Optimizer:
    """AdamW without weight decay on vectors (biases, norms)."""
    parameters = list(module.parameters())
    groups = [
        {
            "params": [value for value in parameters if value.ndim > 1],
            "weight_decay": settings.weight_decay,
        },
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)


def _keep(trainer: Trainer, folder: Path) -> None:
    write_checkpoint(trainer.parameters, checkpoint_path(folder, trainer.step))


def draw_weights(module: nn.Module, layers: int, seed: int) -> None:
    """GPT-2's initialisation: matrices normal with standard deviation 0.02, divided by √(2·layers)
    where they write to the residual stream.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                spread = 0.02 / math.sqrt(2 * layers) if name.endswith("c_proj.weight") else 0.02
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def rate(step: int, settings: TinyLanguageSettings) -> float:
    """The learning rate's factor."""
    return warm_cosine(step, settings.steps, settings.warm_up, settings.final_rate)


def token_losses(
    logits: Float[Tensor, "row position vocabulary"], labels: Tensor
) -> Float[Tensor, "row predicted"]:
    """The cross-entropy of every next token, 0 where the label is -100."""
    return nn.functional.cross_entropy(
        rearrange(logits[:, :-1], "row predicted token -> row token predicted"),
        labels[:, 1:],
        ignore_index=IGNORED,
        reduction="none",
    )


@torch.no_grad()
def _finish(task: _Task, trainer: Trainer, data: str) -> Path:
    folder, settings = trainer.state.parent, task.settings
    task.tokenizer.save_pretrained(folder)
    exact = _loss(task, trainer.step)
    weights = module_hash(task.module)
    stored = read_checkpoint(checkpoint_path(folder, trainer.step))
    task.module.load_state_dict(stored, strict=False)
    shares = token_shares(task.tokens, settings.vocabulary)
    recipe = {
        "settings": asdict(settings),
        "architecture": settings.architecture(),
        "data": {
            "what": data,
            "texts": len(task.texts),
            "tokens": len(task.tokens),
            "sha256": task.data_hash,
        },
        "steps": spaced_steps(settings.steps, settings.checkpoints),
        "parameters": sum(parameter.numel() for parameter in trainer.parameters.values()),
        "weights_sha256": weights,
        "loss": {
            "exact": exact,
            "stored": _loss(task, trainer.step),
            "rows": settings.batch_size * 4,
        },
        "token_shares": [round(float(share), 7) for share in shares],
        "seconds": round(trainer.seconds, 1),
        "versions": package_versions(),
    }
    write_json(folder / CURVE, _curve(trainer.losses))
    write_json(folder / RECIPE, recipe)
    trainer.finish()
    return folder


def _loss(task: _Task, step: int) -> float:
    """The mean loss on the next four batches."""
    batches = [task.losses(step + more) for more in range(4)]
    means = [losses.sum() / counted.sum() for losses, counted in batches]
    return round(float(torch.stack(means).mean()), 5)


def _curve(losses: Sequence[Tensor]) -> dict[str, list[float]]:
    parts = stretches(losses, CURVE_EVERY)
    means = np.stack([part.double().numpy().mean(axis=0) for part in parts.values()]).round(5)
    return {"step": list(parts), "text": means[:, 0].tolist(), "repeats": means[:, 1].tolist()}
