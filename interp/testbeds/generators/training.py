"""Training a small generator: seeded, with checkpoints that resume exactly, and finished as a
folder that diffusers loads.
"""

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, UnavailableError, silent
from interp.core.files import read_json, replacing, require_writable, write_json
from interp.core.provenance import package_versions, text_hash
from interp.diffusion.sampling.labels import (
    Labels,
    checked_labels,
    class_count,
    prepared_labels,
    without_some,
)
from interp.models.adapters.skips import RECIPE, dropped_skips
from interp.models.weights.identity import module_hash
from interp.testbeds.generators.network import (
    GeneratorSettings,
    Prediction,
    build_network,
    build_scheduler,
)
from interp.testbeds.generators.sample_sheet import write_sheet

CHECKPOINT = "checkpoint.safetensors"
CURVE = "curve.json"
SHEET = "samples.png"
CURVE_EVERY = 50


def train_generator(
    images: Float[Tensor, "image channel y x"],
    settings: GeneratorSettings,
    *,
    folder: str | Path,
    labels: Labels | None = None,
    data: str = "",
    progress: Progress = silent,
) -> Path:
    """Train a UNet to generate images like these; its folder is returned.

    The loss is the squared error of the predicted clean image x₀, weighted by `clip(SNR, 0, 5) + ¼`
    at the noise level drawn (Hang et al. 2023 clip so; the ¼ keeps the noisiest levels from
    vanishing), or the same in terms of v (÷ (SNR + 1)) or of the noise (÷ SNR, the ¼ left whole).
    Adam with warm-up and cosine decay, gradients clipped, an exponential moving average of the
    weights is kept.

    The folder then holds config.json and safetensors as diffusers saves them, `scheduler/`,
    `recipe.json` (settings, data, cost, versions), `curve.json` and `samples.png`. While training,
    `checkpoint.safetensors` holds all that is needed to go on: a second call with the same
    arguments resumes there, and ends with the same weights as an uninterrupted run.

    Args:
        images: values from −1 to 1.
        labels: classes `[image]` or vectors `[image, width]` to condition on.
        data: what the images are, in words, for the recipe.

    Raises:
        InputError: images of another range, labels of another number, or a folder that holds
            another run.
        UnavailableError: the folder cannot be written.

    Cost: 4,000 steps on 16 × 16 images take about 4 minutes on one slow core; memory is small.

    Example:
        >>> folder = train_generator(
        ...     shape_images(8000).images, GeneratorSettings(), folder="shapes"
        ... )
    """
    place = require_writable(Path(folder))
    _require_images(images)
    checked_labels(labels, len(images))
    run = _Run(images=images, labels=labels, settings=settings)
    run.resume(place)
    start = time.perf_counter()
    while run.step < settings.steps:
        run.advance()
        progress("train generator", run.step, settings.steps, "step")
        if run.step % settings.checkpoint_every == 0 or run.step == settings.steps:
            run.seconds += time.perf_counter() - start
            start = time.perf_counter()
            run.save(place)
    return _finish(run, place, data)


@dataclass(kw_only=True)
class _Run:
    """All that changes while training, and how to write it down and take it up again."""

    images: Float[Tensor, "image channel y x"]
    labels: Labels | None
    settings: GeneratorSettings
    step: int = 0
    seconds: float = 0.0
    losses: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        vectors = self.labels is not None and self.labels.ndim == 2
        width = self.labels.shape[1] if self.labels is not None and vectors else None
        classes = None if self.labels is None or vectors else class_count(self.labels)
        shape = (int(self.images.shape[1]), int(self.images.shape[2]), int(self.images.shape[3]))
        self.module: Any = build_network(self.settings, shape, classes, width).train()
        self.parameters = dict(self.module.named_parameters())
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.optimiser = torch.optim.Adam(
            self.parameters.values(), lr=self.settings.learning_rate, fused=True
        )
        # Torch looks at the lower 32 bits only, so this repeats the stream that drew the weights.
        # The networks that ship were trained so.
        self.generator = torch.Generator().manual_seed(self.settings.seed + 2**32)
        self.retained = build_scheduler(self.settings).alphas_cumprod.double()
        self.identity = {
            "settings": json.dumps(self.settings.to_dict()),
            "data": data_hash(self.images, self.labels),
        }

    def advance(self) -> None:
        """One step of Adam."""
        settings = self.settings
        rows = torch.randint(len(self.images), (settings.batch_size,), generator=self.generator)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate(self.step, settings)
        self.optimiser.zero_grad()
        dropped = torch.rand(settings.batch_size, generator=self.generator) < settings.skip_dropout
        with torch.enable_grad(), dropped_skips(self.module, dropped):
            loss = self._loss(
                self.images[rows].float(), None if self.labels is None else self.labels[rows]
            )
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), settings.clip)
        self.optimiser.step()
        self.step += 1
        self.losses.append(loss.detach())
        self._average()

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        from safetensors.torch import save_file

        with replacing(folder / CHECKPOINT) as path:
            save_file(
                self._state(),
                path,
                metadata={**self.identity, "step": str(self.step), "seconds": str(self.seconds)},
            )

    def resume(self, folder: Path) -> None:
        """Go on from the folder's checkpoint, if there is one.

        Raises:
            InputError: it belongs to other settings or other data, or the folder holds a finished
                network.
        """
        from safetensors import SafetensorError, safe_open

        path = folder / CHECKPOINT
        if not path.is_file():
            if any((folder / name).exists() for name in (RECIPE, "config.json")):
                raise InputError(
                    f"{folder} already holds a network; give another folder, or delete it to "
                    "train "
                    "again"
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
        for name, value in self.identity.items():
            if noted.get(name) != value:
                raise InputError(
                    f"the run begun in {folder} has other {name}; give the same, or another folder"
                )
        self.step, self.seconds = int(noted["step"]), float(noted["seconds"])
        self._restore(state)

    @torch.no_grad()
    def _average(self) -> None:
        # A constant rate would keep the random start in the average for hundreds of steps.
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.parameters.items():
            self.average[name].lerp_(value, 1 - decay)

    def _loss(
        self, clean: Float[Tensor, "batch channel y x"], labels: Labels | None
    ) -> Float[Tensor, ""]:
        settings, count = self.settings, len(clean)
        times = torch.randint(len(self.retained), (count,), generator=self.generator)
        noise = torch.randn(clean.shape, generator=self.generator)
        kept = self.retained[times].float()[:, None, None, None]
        noised = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        shown = without_some(labels, self.module, settings.label_dropout, self.generator)
        extra = {} if shown is None else {"class_labels": prepared_labels(self.module, shown)}
        answer = self.module(noised, times, **extra).sample
        wanted = right_answer(clean, noise, kept, settings.prediction)
        weights = loss_weights(self.retained[times], settings).float()
        return (weights * (answer - wanted).square().mean(dim=(1, 2, 3))).mean()

    def _state(self) -> dict[str, Tensor]:
        state = {f"weight.{name}": value.detach() for name, value in self.parameters.items()}
        state |= {f"average.{name}": value for name, value in self.average.items()}
        for name, parameter in self.parameters.items():
            state |= {
                f"adam.{key}.{name}": value
                for key, value in self.optimiser.state[parameter].items()
            }
        return state | {"generator": self.generator.get_state(), "losses": torch.stack(self.losses)}

    @torch.no_grad()
    def _restore(self, state: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(state[f"weight.{name}"])
            self.average[name].copy_(state[f"average.{name}"])
            self.optimiser.state[parameter] = {
                key: state[f"adam.{key}.{name}"].clone()
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.generator.set_state(state["generator"])
        self.losses = list(state["losses"])


def rate(step: int, settings: GeneratorSettings) -> float:
    """The learning rate's factor: a linear warm-up, then half a cosine to zero."""
    return warm_cosine(step, settings.steps, settings.warm_up)


def warm_cosine(step: int, steps: int, warm_up: int, final: float = 0.0) -> float:
    """From 0 to 1 in a line over `warm_up` steps, then half a cosine to `final`."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))


def loss_weights(
    retained: Float[Tensor, " image"], settings: GeneratorSettings
) -> Float[Tensor, " image"]:
    """The weight of a squared error at noise levels with `retained` = ᾱ, for what the settings
    predict.
    """
    snr = retained / (1 - retained)
    clipped = snr.clamp(max=5)
    if settings.prediction == "sample":
        return clipped + 0.25
    return (
        clipped / snr + 0.25 if settings.prediction == "epsilon" else (clipped + 0.25) / (snr + 1)
    )


def right_answer(clean: Tensor, noise: Tensor, retained: Tensor, prediction: Prediction) -> Tensor:
    """What a network should answer to `√ᾱ · clean + √(1 − ᾱ) · noise`, with `retained` = ᾱ: the
    image, the noise, or v = √ᾱ · noise − √(1 − ᾱ) · clean (Salimans & Ho 2022)."""
    if prediction == "sample":
        return clean
    return (
        noise
        if prediction == "epsilon"
        else retained.sqrt() * noise - (1 - retained).sqrt() * clean
    )


def data_hash(images: Float[Tensor, "image channel y x"], labels: Labels | None) -> str:
    """sha256 of the images and their labels."""
    parts = [images] if labels is None else [images, labels]
    return text_hash(
        hashlib.sha256(part.cpu().contiguous().numpy().tobytes()).hexdigest() for part in parts
    )


def _require_images(images: Float[Tensor, "image channel y x"]) -> None:
    if len(images) == 0:
        raise InputError("no images were given; give at least one")
    low, high = float(images.min()), float(images.max())
    if not (-1.001 <= low < 0 and high <= 1.001):
        raise InputError(
            f"images have values from {low:.3g} to {high:.3g}; give them from -1 to 1 (of 0 to 1: "
            "2 * images - 1)"
        )


def _finish(run: _Run, folder: Path, data: str) -> Path:
    with torch.no_grad():
        for name, parameter in run.parameters.items():
            parameter.copy_(run.average[name])
    run.module.eval()
    run.module.save_pretrained(folder, safe_serialization=True)
    build_scheduler(run.settings).save_pretrained(folder / "scheduler")
    recipe = {
        "settings": run.settings.to_dict(),
        "data": {
            "what": data,
            "images": len(run.images),
            "shape": list(run.images.shape[1:]),
            "sha256": run.identity["data"],
        },
        "parameters": sum(parameter.numel() for parameter in run.parameters.values()),
        "weights_sha256": module_hash(run.module),
        "seconds": round(run.seconds, 1),
        "versions": package_versions(),
    }
    write_json(folder / RECIPE, recipe)
    write_json(folder / CURVE, _curve(torch.stack(run.losses)))
    write_sheet(folder, folder / SHEET, labels=run.labels)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


def _curve(losses: Float[Tensor, " step"]) -> dict[str, list[float]]:
    """Means over stretches of steps: single losses are too noisy to see anything."""
    starts = range(0, len(losses), CURVE_EVERY)
    ends = [float(min(start + CURVE_EVERY, len(losses))) for start in starts]
    return {
        "step": ends,
        "loss": [round(float(losses[start : start + CURVE_EVERY].mean()), 6) for start in starts],
    }


def training_curve(folder: str | Path) -> dict[str, list[float]]:
    """The curve of a trained network: the mean loss of every 50 steps, and the step at which each
    stretch ends.
    """
    curve: dict[str, list[float]] = read_json(Path(folder) / CURVE)
    return curve
