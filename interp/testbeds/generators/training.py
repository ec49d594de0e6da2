"""Training a small generator into a folder that diffusers loads."""

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
    """Train a UNet to generate images like these, and return its folder.

    The loss is the squared error of the predicted clean image, weighted by `clip(SNR, 0, 5) + ¼` at
    the noise level drawn (the clip of Hang et al. 2023; the ¼ keeps the noisiest levels in), or the
    same for v (÷ (SNR + 1)) or the noise (÷ SNR, but for the ¼). Adam with warm-up and cosine
    decay, gradients clipped; an exponential moving average of the weights is kept.

    The folder then holds config.json and safetensors as diffusers saves them, `scheduler/`,
    `recipe.json` (settings, data, cost, versions), `curve.json` and `samples.png`. Until then
    `checkpoint.safetensors` lets a second call with the same arguments resume, with the weights of
    an uninterrupted run.

    Args:
        images: values from −1 to 1.
        labels: classes `[image]` or vectors `[image, width]` to condition on.
        data: a description of the images for the recipe.

    Raises:
        InputError: images of another range, not one label per image, or a folder with another run.
        UnavailableError: the folder cannot be written.

    Cost: about 4 minutes for 4,000 steps on 16 × 16 images on one slow core; little memory.

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
        identity={"settings": json.dumps(settings.to_dict()), "data": data_hash(images, labels)},
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
    """The network, its data and its random numbers."""

    images: Float[Tensor, "image channel y x"]
    labels: Labels | None
    settings: GeneratorSettings

    def __post_init__(self) -> None:
        vectors = self.labels is not None and self.labels.ndim == 2
        width = self.labels.shape[1] if self.labels is not None and vectors else None
        classes = None if self.labels is None or vectors else class_count(self.labels)
        shape = (int(self.images.shape[1]), int(self.images.shape[2]), int(self.images.shape[3]))
        self.module: Any = build_network(self.settings, shape, classes, width).train()
        # Torch uses the lower 32 bits only, so this repeats the stream that drew the weights; the
        # networks that ship were trained so.
        self.generator = torch.Generator().manual_seed(self.settings.seed + 2**32)
        self.retained = build_scheduler(self.settings).alphas_cumprod.double()

    def loss(self, step: int) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss of a batch, to learn from and to record."""
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
        given = without_some(labels, self.module, settings.label_dropout, self.generator)
        extra = {} if given is None else {"class_labels": prepared_labels(self.module, given)}
        predicted = self.module(noised, times, **extra).sample
        target = right_answer(clean, noise, kept, settings.prediction)
        weights = loss_weights(self.retained[times], settings).float()
        return (weights * (predicted - target).square().mean(dim=(1, 2, 3))).mean()


def rate(step: int, settings: GeneratorSettings) -> float:
    """The learning rate's factor."""
    return warm_cosine(step, settings.steps, settings.warm_up)


def loss_weights(
    retained: Float[Tensor, " image"], settings: GeneratorSettings
) -> Float[Tensor, " image"]:
    """The weight of a squared error at noise levels with `retained` = ᾱ."""
    snr = retained / (1 - retained)
    clipped = snr.clamp(max=5)
    if settings.prediction == "epsilon":
        return clipped / snr + 0.25
    return clipped + 0.25 if settings.prediction == "sample" else (clipped + 0.25) / (snr + 1)


def right_answer(clean: Tensor, noise: Tensor, retained: Tensor, prediction: Prediction) -> Tensor:
    """What to predict from `√ᾱ · clean + √(1 − ᾱ) · noise`, with `retained` = ᾱ: the image, the
    noise, or v = √ᾱ · noise − √(1 − ᾱ) · clean (Salimans & Ho 2022).
    """
    if prediction == "v_prediction":
        return retained.sqrt() * noise - (1 - retained).sqrt() * clean
    return clean if prediction == "sample" else noise


def data_hash(images: Float[Tensor, "image channel y x"], labels: Labels | None) -> str:
    """Hash of the images and their labels."""
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
