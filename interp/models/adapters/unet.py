"""Diffusers UNets as Models.

Sites: `mid` (the bottleneck, "h-space"), `down{i}`, `up{i}`, `eps`.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.core import InputError, Sites, UnavailableError
from interp.core.files import read_json
from interp.models.adapters.display import model_html, model_text
from interp.models.adapters.skips import recipe_skips, remove_skips
from interp.models.hooks import Point, by_site, ended_early, evaluating, placed
from interp.models.protocol import Batch, Frame, Hook, Prepared, checked_batch_size
from interp.models.weights.identity import module_hash

DEFAULT_BATCH = 16


@dataclass(frozen=True)
class SamplingPlan:
    """Images to sample, one per seed, in `steps` deterministic steps (DDIM, eta 0; Song, Meng &
    Ermon 2021).

    `conditions [image, token, width]` are a conditional UNet's text embeddings, one per seed.

    Example:
        >>> interp.record(unet, SamplingPlan(seeds=(0, 1), steps=20), "mid")
    """

    seeds: tuple[int, ...]
    steps: int = 50
    conditions: Float[Tensor, "image token width"] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"{self.steps} sampling steps; give at least 1")


@dataclass(frozen=True)
class NoisedImages:
    """Images at one noise level: `images [image, channel, y, x]` go to the UNet as they are, at
    `timestep`.
    """

    images: Float[Tensor, "image channel y x"]
    timestep: int
    conditions: Float[Tensor, "image token width"] | None = None


class UNetModel:
    """A `UNet2DModel` or `UNet2DConditionModel`.

    A hook is called once per sampling step, with its number in `call.step`. A change at `down{i}`
    goes on to the next level, not into the skip connections. `scheduler` is the network's own
    (diffusers), by default a DDIM scheduler.

    Example:
        >>> unet = interp.load_model("path/to/diffusers/folder")
        >>> images = unet.run(SamplingPlan(seeds=(0,), steps=10))
    """

    def __init__(
        self,
        module: Any,
        scheduler: Any | None = None,
        *,
        name: str | None = None,
        weight_hash: str | None = None,
    ) -> None:
        self.module = module
        self.scheduler = scheduler
        self.name = name or type(module).__name__
        self._weight_hash = weight_hash
        self._frames: list[Frame] = []

    @cached_property
    def _points(self) -> dict[str, Point]:
        parts = {f"down{i}": block for i, block in enumerate(self.module.down_blocks)}
        if self.module.mid_block is not None:
            parts["mid"] = self.module.mid_block
        parts |= {f"up{i}": block for i, block in enumerate(self.module.up_blocks)}
        return {site: Point(part, "output") for site, part in {**parts, "eps": self.module}.items()}

    @cached_property
    def sites(self) -> Sites:
        """Every site with its channels."""
        channels = list(self.module.config.block_out_channels)
        widths = {f"down{i}": width for i, width in enumerate(channels)}
        widths["mid"] = channels[-1]
        widths |= {f"up{i}": width for i, width in enumerate(reversed(channels))}
        widths["eps"] = self.module.config.out_channels
        return Sites({site: (widths[site], None, None) for site in self._points})

    @cached_property
    def weight_hash(self) -> str:
        """sha256 of the weights (of the file they came from, or of the module in memory)."""
        return self._weight_hash or module_hash(self.module)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.module.device
        return device

    def prepare(self, inputs: Any, batch_size: int | None = None) -> Prepared:
        """A plan or images as batches.

        Raises:
            InputError: no plan or noised images, no image in them, or not one condition per image.
        """
        size = checked_batch_size(batch_size) or DEFAULT_BATCH
        count = self._checked_count(inputs)
        batches = []
        for start in range(0, count, size):
            items = np.arange(start, min(start + size, count))
            part = _part(inputs, start, start + size)
            batches.append(Batch(inputs={"part": part}, items=items, offsets=np.zeros_like(items)))
        names = (
            [f"seed {seed}" for seed in inputs.seeds]
            if isinstance(inputs, SamplingPlan)
            else [f"image {i}" for i in range(count)]
        )
        return Prepared(tuple(names), (), batches)

    def run(
        self,
        inputs: Any,
        hooks: Mapping[str, Hook] = {},
        *,
        stop_after: str | Iterable[str] | None = None,
    ) -> Tensor | None:
        """The images of a plan, or the predicted noise of noised images.

        With `stop_after` the last step ends after those sites and None is returned; earlier steps
        are needed to reach it.

        Raises:
            InputError: a site does not exist, or a hook changes the shape.
        """
        batch = (
            inputs
            if isinstance(inputs, Batch)
            else self.prepare(inputs, batch_size=sys.maxsize).batches[0]
        )
        part = batch.inputs["part"]
        frame = Frame(batch=batch)
        with self._session(hooks, stop_after, frame), ended_early():
            if isinstance(part, NoisedImages):
                self._at_step(0, last=True)
                return self._predict(part.images.to(self.device), part.timestep, part.conditions)
            return self._sample(part)
        return None

    def hooked(self, hooks: Mapping[str, Hook]) -> Any:
        """Keep hooks in place for the length of a `with` block."""
        return self._session(hooks, None, Frame())

    def __repr__(self) -> str:
        return model_text(self)

    def _repr_html_(self) -> str:
        about = f"{len(self.module.down_blocks)} levels"
        return model_html("UNet", self.name, self.module, self.sites, about)

    def _at_step(self, step: int, *, last: bool) -> None:
        for frame in self._frames:
            frame.step, frame.armed = step, last

    def _checked_count(self, inputs: Any) -> int:
        count = _count(inputs)
        needed = type(self.module).__name__ == "UNet2DConditionModel"
        if needed != (inputs.conditions is not None):
            raise InputError(
                f"this {type(self.module).__name__} "
                f"{'needs conditions' if needed else 'takes no conditions'}; "
                f"{'give' if needed else 'leave out'} conditions [image, token, width] in the "
                f"{type(inputs).__name__}"
            )
        return count

    def _predict(self, images: Tensor, timestep: Any, conditions: Tensor | None) -> Tensor:
        extra = {} if conditions is None else {"encoder_hidden_states": conditions.to(images)}
        eps: Tensor = self.module(images, timestep, **extra).sample
        return eps

    def _sample(self, plan: SamplingPlan) -> Tensor:
        scheduler = self._scheduler(plan.steps)
        images = self._noise(plan.seeds) * scheduler.init_noise_sigma
        for step, timestep in enumerate(scheduler.timesteps):
            self._at_step(step, last=step == plan.steps - 1)
            eps = self._predict(
                scheduler.scale_model_input(images, timestep), timestep, plan.conditions
            )
            images = scheduler.step(eps, timestep, images).prev_sample
        return images

    def _scheduler(self, steps: int) -> Any:
        from diffusers import DDIMScheduler

        # A fresh one each time, as schedulers carry state; DDIM reads any kind's noise schedule.
        scheduler = (
            DDIMScheduler()
            if self.scheduler is None
            else DDIMScheduler.from_config(self.scheduler.config)
        )
        most = scheduler.config.num_train_timesteps
        if steps > most:
            raise InputError(
                f"{steps} sampling steps, but the network was trained on {most}; give fewer"
            )
        scheduler.set_timesteps(steps)
        return scheduler

    def _noise(self, seeds: Sequence[int]) -> Tensor:
        size = self.module.config.sample_size
        if size is None:
            raise InputError(
                "this UNet's configuration has no sample_size, so images cannot be sampled; give "
                "NoisedImages instead"
            )
        height, width = (size, size) if isinstance(size, int) else size
        shape = (self.module.config.in_channels, height, width)
        drawn = [
            torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds
        ]
        return torch.stack(drawn).to(self.device, self.module.dtype)

    @contextmanager
    def _session(
        self, hooks: Mapping[str, Hook], stop_after: str | Iterable[str] | None, frame: Frame
    ) -> Iterator[None]:
        resolved, ends = by_site(self.sites, hooks, stop_after)
        with ExitStack() as stack:
            # Hooks of an outer `with` get the step of the sampling inside it too.
            self._frames.append(frame)
            stack.callback(self._frames.remove, frame)
            stack.enter_context(evaluating(self.module))
            stack.enter_context(placed(self._points, resolved, frame, ends))
            yield


def is_unet(module: nn.Module) -> bool:
    """Whether a module is a diffusers UNet (without importing diffusers)."""
    return type(module).__name__ in ("UNet2DModel", "UNet2DConditionModel")


def is_unet_folder(folder: Path) -> bool:
    """Whether a folder holds a UNet, alone or inside a pipeline."""
    return (folder / "unet" / "config.json").is_file() or "UNet2D" in _class_name(
        folder / "config.json"
    )


def load_unet(
    folder: Path, *, name: str | None = None, weight_hash: str | None = None
) -> UNetModel:
    """A UNet from a diffusers folder (a pipeline or a bare network); only safetensors are read.

    Raises:
        UnavailableError: the folder cannot be read as a UNet.
    """
    import diffusers
    from safetensors import SafetensorError

    inside = folder / "unet" if (folder / "unet").is_dir() else folder
    kind = _class_name(inside / "config.json")
    try:
        module = getattr(diffusers, kind).from_pretrained(
            inside, use_safetensors=True, local_files_only=True
        )
        scheduler = _scheduler(folder / "scheduler")
    except (OSError, AttributeError, ValueError, SafetensorError) as error:
        raise UnavailableError(
            f"cannot load a UNet from {folder}: {str(error).splitlines()[0]}; check that its files "
            "are whole"
        ) from error
    # A network trained without some of its skip connections is only right without them.
    remove_skips(module, recipe_skips(folder))
    return UNetModel(module.eval(), scheduler, name=name or folder.name, weight_hash=weight_hash)


def _scheduler(folder: Path) -> Any:
    """A DDIM scheduler with a folder's noise schedule, whichever sampler it is for, or None."""
    import diffusers

    config = folder / "scheduler_config.json"
    if not config.is_file():
        return None
    kind, stated = _class_name(config), read_json(config)
    if kind.startswith("FlowMatch"):
        raise UnavailableError(
            f"{folder} holds a {kind}: flow matching has no noise schedule for DDIM; give a "
            "diffusion model"
        )
    # Only these clip by default; DDIM's own default would clip the latents of all others.
    clips = "clip_sample" in stated or kind in ("DDIMScheduler", "DDPMScheduler")
    extra = {} if clips else {"clip_sample": False}
    return diffusers.DDIMScheduler.from_pretrained(folder, **extra)


def _class_name(config: Path) -> str:
    return str(read_json(config).get("_class_name", "")) if config.is_file() else ""


def _count(inputs: Any) -> int:
    if not isinstance(inputs, SamplingPlan | NoisedImages):
        raise InputError(
            f"a UNet takes a SamplingPlan or NoisedImages, not {type(inputs).__name__}"
        )
    count = len(inputs.seeds) if isinstance(inputs, SamplingPlan) else len(inputs.images)
    if count == 0:
        raise InputError("no images were asked for; give at least one seed or image")
    if inputs.conditions is not None and len(inputs.conditions) != count:
        raise InputError(
            f"{len(inputs.conditions)} conditions were given for {count} images; give one per image"
        )
    return count


def _part(
    inputs: SamplingPlan | NoisedImages, start: int, stop: int
) -> SamplingPlan | NoisedImages:
    conditions = None if inputs.conditions is None else inputs.conditions[start:stop]
    if isinstance(inputs, SamplingPlan):
        return SamplingPlan(inputs.seeds[start:stop], inputs.steps, conditions)
    return NoisedImages(inputs.images[start:stop], inputs.timestep, conditions)
