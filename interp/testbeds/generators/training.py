"""Training a small generator, finished as a folder that diffusers loads."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.core.files import require_writable, write_json
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
from interp.testbeds.training import CURVE, Trainer, every, stretches, warm_cosine

CHECKPOINT = "checkpoint.safetensors"
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
    task = _Task(images=images, labels=labels, settings=settings)
    trainer = Trainer(
        module=task.module,
        optimiser=torch.optim.Adam(task.module.parameters(), lr=settings.learning_rate, fused=True),
        objective=task.loss,
        state=place / CHECKPOINT,
        identity={
            "settings": json.dumps(settings.to_dict()),
            "data": data_hash(images, labels),
        },
        generator=task.generator,
        rate=partial(rate, settings=settings),
        clip=settings.clip,
        decay=settings.ema,
    )
    trainer.resume(finished=(RECIPE, "config.json"))
    saved = every(settings.checkpoint_every, settings.steps)
    for _ in trainer.train(settings.steps, saved=saved, title="train generator", progress=progress):
        pass
    return _finish(task, trainer, data)


@dataclass(kw_only=True)
class _Task:
    """The network, what it learns from, and its random numbers."""

    images: Float[Tensor, "image channel y x"]
    labels: Labels | None
    settings: GeneratorSettings

    def __post_init__(self) -> None:
        vectors = self.labels is not None and self.labels.ndim == 2
        width = self.labels.shape[1] if self.labels is not None and vectors else None
        classes = None if self.labels is None or vectors else class_count(self.labels)
        shape = (int(self.images.shape[1]), int(self.images.shape[2]), int(self.images.shape[3]))
        self.module: Any = build_network(self.settings, shape, classes, width).train()
        # Torch looks at the lower 32 bits only, so this repeats the stream that drew the weights.
        # The networks that ship were trained so.
        self.generator = torch.Generator().manual_seed(self.settings.seed + 2**32)
        self.retained = build_scheduler(self.settings).alphas_cumprod.double()

    def loss(self, step: int) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss of a batch, twice: what is learned from is also what is recorded."""
        count = self.settings.batch_size
        rows = torch.randint(len(self.images), (count,), generator=self.generator)
        dropped = torch.rand(count, generator=self.generator) < self.settings.skip_dropout
        with dropped_skips(self.module, dropped):
            labels = None if self.labels is None else self.labels[rows]
            loss = self._squared_error(self.images[rows].float(), labels)
        return loss, loss

    def _squared_error(
        self, clean: Float[Tensor, "batch channel y x"], labels: Labels | None
    ) -> Float[Tensor, ""]:
        settings, count = self.settings, len(clean)
        times = torch.randint(len(self.retained), (count,), generator=self.generator)
        noise = torch.randn(clean.shape, generator=self.generator)
        kept = rearrange(self.retained[times].float(), "image -> image 1 1 1")
        noised = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        told = without_some(labels, self.module, settings.label_dropout, self.generator)
        extra = {} if told is None else {"class_labels": prepared_labels(self.module, told)}
        answer = self.module(noised, times, **extra).sample
        wanted = right_answer(clean, noise, kept, settings.prediction)
        weights = loss_weights(self.retained[times], settings).float()
        return (weights * (answer - wanted).square().mean(dim=(1, 2, 3))).mean()


def rate(step: int, settings: GeneratorSettings) -> float:
    """The learning rate's factor: a linear warm-up, then half a cosine to zero."""
    return warm_cosine(step, settings.steps, settings.warm_up)


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


def _finish(task: _Task, trainer: Trainer, data: str) -> Path:
    folder, module, settings = trainer.state.parent, task.module, task.settings
    with torch.no_grad():
        for name, parameter in trainer.parameters.items():
            parameter.copy_(trainer.average[name])
    module.eval()
    module.save_pretrained(folder, safe_serialization=True)
    build_scheduler(settings).save_pretrained(folder / "scheduler")
    recipe = {
        "settings": settings.to_dict(),
        "data": {
            "what": data,
            "images": len(task.images),
            "shape": list(task.images.shape[1:]),
            "sha256": trainer.identity["data"],
        },
        "parameters": sum(parameter.numel() for parameter in trainer.parameters.values()),
        "weights_sha256": module_hash(module),
        "seconds": round(trainer.seconds, 1),
        "versions": package_versions(),
    }
    write_json(folder / RECIPE, recipe)
    parts = stretches(trainer.losses, CURVE_EVERY)
    means = [round(float(part.mean()), 6) for part in parts.values()]
    write_json(folder / CURVE, {"step": list(parts), "loss": means})
    write_sheet(folder, folder / SHEET, labels=task.labels)
    trainer.finish()
    return folder
