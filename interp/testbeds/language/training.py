"""Training a tiny GPT-2 on one slow thread, with checkpoints that show when it learned what."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.core import InputError, Progress, UnavailableError, silent
from interp.core.files import read_json, replacing, require_writable, write_json
from interp.core.provenance import package_versions, text_hash
from interp.models.weights.identity import module_hash
from interp.testbeds.generators.training import warm_cosine
from interp.testbeds.language.data import IGNORED, Rows, packed, token_shares, train_tokenizer
from interp.testbeds.language.store import (
    RECIPE,
    checkpoint_path,
    empty_network,
    read_checkpoint,
    write_checkpoint,
)

STATE = "state.safetensors"
CURVE = "curve.json"
CURVE_EVERY = 20
SAVE_EVERY = 100


@dataclass(frozen=True, kw_only=True)
class TinyLanguageSettings:
    """The network and its training; the defaults are the run that ships (1.0 M parameters, a
    quarter of an hour on one slow thread).
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
                "no "
                "more than steps"
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
    """Steps at which checkpoints are kept: 0, and then evenly spaced in their square root from
    `first` to `steps`.
    """
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
    """Train a GPT-2 on texts and keep it at steps spaced by square root; its folder is returned.

    The loss is the cross-entropy of the next token. `settings.repeating` rows of every batch are
    random tokens that repeat (see `Rows`), so that how often induction pays is known. AdamW with
    warm-up and cosine decay to a tenth, gradients clipped. The weights come from the seed alone.

    The folder then holds `step_*.safetensors` (a byte a weight), the tokenizer, `recipe.json`
    (settings, hash of the data, what storing in bytes costs, versions) and `curve.json` (mean loss
    of every 20 steps on text and on repeats). `state.safetensors` is there until the end: a second
    call with the same arguments goes on from it, with the weights of an uninterrupted run.

    Args:
        texts: what to learn from; the tokenizer is trained on them too.
        data: what the texts are, in words, for the recipe.

    Raises:
        InputError: the texts are too few, or the folder holds another run.
        UnavailableError: the folder cannot be written.

    Source: Radford et al. 2019 for the architecture. Cost: .3 seconds a step of 2,048 tokens on one
    slow core.

    Example:
        >>> train_tiny_language(wordnet_glosses(), "language", data="WordNet 3.0 glosses")
    """
    place = require_writable(Path(folder))
    run = _Run(texts=texts, settings=settings, folder=place)
    kept = set(spaced_steps(settings.steps, settings.checkpoints))
    start = time.perf_counter()
    if run.step == 0:
        run.keep(place)
    while run.step < settings.steps:
        run.advance()
        progress("train tiny language", run.step, settings.steps, "step")
        if run.step in kept:
            run.keep(place)
        if run.step % SAVE_EVERY == 0 or run.step == settings.steps:
            run.seconds += time.perf_counter() - start
            start = time.perf_counter()
            run.save(place)
    return _finish(run, place, data)


@dataclass(kw_only=True)
class _Run:
    """All that changes while training, and how to write it down and take it up again."""

    texts: Sequence[str]
    settings: TinyLanguageSettings
    folder: Path
    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[float, float]] = field(default_factory=list)

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
        self.parameters: dict[str, nn.Parameter] = dict(self.module.named_parameters())
        decayed = [value for value in self.parameters.values() if value.ndim > 1]
        free = [value for value in self.parameters.values() if value.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": free, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(
            groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True
        )
        self._resume()

    def advance(self) -> None:
        """One step of AdamW."""
        ids, labels = self.rows.batch(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * rate(self.step, self.settings)
        self.optimiser.zero_grad()
        with torch.enable_grad():
            losses = token_losses(self.module(ids).logits, labels)
            counted = labels[:, 1:] != IGNORED
            (losses.sum() / counted.sum()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip)
        self.optimiser.step()
        self.step += 1
        text = self.settings.batch_size - self.settings.repeating
        self.losses.append(
            (
                float(losses[:text].detach().mean()),
                _masked_mean(losses[text:].detach(), counted[text:]),
            )
        )

    def keep(self, folder: Path) -> None:
        """Write the weights as a checkpoint."""
        write_checkpoint(self.parameters, checkpoint_path(folder, self.step))

    def save(self, folder: Path) -> None:
        """Write all that is needed to go on."""
        from safetensors.torch import save_file

        noted = {"identity": self._identity(), "step": str(self.step), "seconds": str(self.seconds)}
        with replacing(folder / STATE) as path:
            save_file(self._state(), path, metadata=noted)

    def _identity(self) -> str:
        return f"{self.settings} {self.data_hash}"

    def _state(self) -> dict[str, Tensor]:
        state = {f"weight.{name}": value.detach() for name, value in self.parameters.items()}
        for name, parameter in self.parameters.items():
            state |= {
                f"adam.{key}.{name}": value
                for key, value in self.optimiser.state[parameter].items()
            }
        return state | {"losses": torch.tensor(self.losses)}

    @torch.no_grad()
    def _resume(self) -> None:
        """Go on from the folder's state, if there is one; refuse a folder of another run or a
        finished one.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / STATE
        if not path.is_file():
            if (self.folder / RECIPE).exists():
                raise InputError(
                    f"{self.folder} already holds a trained run; give another folder, or delete it "
                    "to train again"
                )
            return
        try:
            with safe_open(path, "pt") as file:
                noted, state = (
                    file.metadata(),
                    {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
                )
        except (OSError, SafetensorError) as error:
            raise UnavailableError(
                f"cannot read {path}: {error}; delete it to train from the start"
            ) from error
        if noted["identity"] != self._identity():
            raise InputError(
                f"the run begun in {self.folder} has other settings or texts; give the same, or "
                "another folder"
            )
        self.step, self.seconds = int(noted["step"]), float(noted["seconds"])
        for name, parameter in self.parameters.items():
            parameter.copy_(state[f"weight.{name}"])
            self.optimiser.state[parameter] = {
                key: state[f"adam.{key}.{name}"].clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.losses = [(float(text), float(repeats)) for text, repeats in state["losses"]]


def draw_weights(module: nn.Module, layers: int, seed: int) -> None:
    """GPT-2's start: matrices normal with standard deviation .02, divided by √(2·layers) where they
    write to the residual stream.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                spread = 0.02 / math.sqrt(2 * layers) if name.endswith("c_proj.weight") else 0.02
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def rate(step: int, settings: TinyLanguageSettings) -> float:
    """The learning rate's factor: a linear warm-up, then half a cosine to `final_rate`."""
    return warm_cosine(step, settings.steps, settings.warm_up, settings.final_rate)


def token_losses(
    logits: Float[Tensor, "row position vocabulary"], labels: Tensor
) -> Float[Tensor, "row predicted"]:
    """The cross-entropy of every next token, 0 where the label is -100."""
    return nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=IGNORED, reduction="none"
    )


def _masked_mean(losses: Tensor, counted: Tensor) -> float:
    return float(losses.sum() / counted.sum()) if bool(counted.any()) else 0.0


@torch.no_grad()
def _finish(run: _Run, folder: Path, data: str) -> Path:
    run.tokenizer.save_pretrained(folder)
    exact = _loss(run)
    weights = module_hash(run.module)
    run.module.load_state_dict(read_checkpoint(checkpoint_path(folder, run.step)), strict=False)
    shares = token_shares(run.tokens, run.settings.vocabulary)
    recipe = {
        "settings": asdict(run.settings),
        "architecture": run.settings.architecture(),
        "data": {
            "what": data,
            "texts": len(run.texts),
            "tokens": len(run.tokens),
            "sha256": run.data_hash,
        },
        "steps": spaced_steps(run.settings.steps, run.settings.checkpoints),
        "parameters": sum(parameter.numel() for parameter in run.parameters.values()),
        "weights_sha256": weights,
        "loss": {"exact": exact, "stored": _loss(run), "rows": run.settings.batch_size * 4},
        "token_shares": [round(float(share), 7) for share in shares],
        "seconds": round(run.seconds, 1),
        "versions": package_versions(),
    }
    write_json(folder / CURVE, _curve(run.losses))
    write_json(folder / RECIPE, recipe)
    (folder / STATE).unlink(missing_ok=True)
    return folder


def _loss(run: _Run) -> float:
    """The mean loss on the four batches that would have come next."""
    batches = [run.rows.batch(run.step + more) for more in range(4)]
    losses = [
        token_losses(run.module(ids).logits, labels).sum() / (labels[:, 1:] != IGNORED).sum()
        for ids, labels in batches
    ]
    return round(float(torch.stack(losses).mean()), 5)


def _curve(losses: Sequence[tuple[float, float]]) -> dict[str, list[float]]:
    values = np.asarray(losses)
    starts = range(0, len(values), CURVE_EVERY)
    means = np.stack([values[start : start + CURVE_EVERY].mean(axis=0) for start in starts]).round(
        5
    )
    ends = [float(min(start + CURVE_EVERY, len(values))) for start in starts]
    return {"step": ends, "text": means[:, 0].tolist(), "repeats": means[:, 1].tolist()}


def training_curve(folder: str | Path) -> dict[str, list[float]]:
    """The curve of a run: mean losses of every 20 steps, on text and on repeating rows, and the
    step at which each stretch ends.
    """
    curve: dict[str, list[float]] = read_json(Path(folder) / CURVE)
    return curve
