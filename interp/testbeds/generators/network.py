"""Building and loading the small UNets of diffusers that this package trains."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from interp.core import InputError
from interp.core.names import require_known
from interp.models import UNetModel
from interp.models.adapters.skips import remove_skips
from interp.models.adapters.unet import is_unet_folder, load_unet
from interp.models.weights.fetch import locate
from interp.testbeds.training import start_uniform

Prediction = Literal["sample", "epsilon", "v_prediction"]
Schedule = Literal["cosine", "linear"]

TIMESTEPS = 1000
_BETAS = {"cosine": "squaredcos_cap_v2", "linear": "linear"}
_PREDICTIONS = ("sample", "epsilon", "v_prediction")


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """A generator and its training; the defaults are those of the ordinary network that ships.

    The network predicts the clean image (`prediction` "sample"), the noise, or v (Salimans & Ho
    2022). `skip_dropout` is the probability of training an image without any skip connection,
    `removed_skips` the number of highest-resolution skips left out for good, `label_dropout` the
    share of images trained without label (for classifier-free guidance).
    """

    channels: tuple[int, ...] = (8, 16, 32, 64)
    groups: int = 4
    mid_attention: bool = True
    prediction: Prediction = "sample"
    schedule: Schedule = "cosine"
    skip_dropout: float = 0.0
    removed_skips: int = 0
    steps: int = 4000
    batch_size: int = 32
    learning_rate: float = 2e-3
    warm_up: int = 200
    clip: float = 1.0
    ema: float = 0.998
    label_dropout: float = 0.1
    seed: int = 0
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        require_known("prediction", self.prediction, _PREDICTIONS)
        require_known("schedule", self.schedule, _BETAS)
        if self.prediction == "epsilon" and self.schedule == "cosine":
            raise InputError(
                "prediction 'epsilon' with schedule 'cosine' divides by 5e-5 at the first step; "
                "use 'linear' or 'sample'"
            )
        for name in ("skip_dropout", "label_dropout", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give 0 or more, less than 1")
        for name in ("steps", "batch_size", "checkpoint_every", "groups"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give at least 1")
        if not self.channels or any(width % self.groups for width in self.channels):
            raise InputError(
                f"channels {self.channels} cannot be normalised in {self.groups} groups; give "
                "multiples of it"
            )

    def to_dict(self) -> dict[str, Any]:
        """Json-ready values."""
        return {**asdict(self), "channels": list(self.channels)}


def build_network(
    settings: GeneratorSettings, shape: tuple[int, int, int], classes: int | None, width: int | None
) -> Any:
    """A `UNet2DModel` for images `[channel, y, x]`, with weights from the settings' seed.

    With `classes` it has one label embedding each, and one for "no label". With `width` it takes
    label vectors, which are padded with zeros and added to the time embedding. Global random state
    is left alone.

    Raises:
        InputError: the images are not square, or too small for the number of levels.
    """
    from diffusers import UNet2DModel

    channels, height, breadth = shape
    levels = len(settings.channels)
    if height != breadth or height % 2 ** (levels - 1):
        raise InputError(
            f"images of {height} × {breadth} do not fit {levels} levels; give square ones, the "
            f"side a multiple of {2 ** (levels - 1)}"
        )
    with torch.random.fork_rng(devices=[]):
        module = UNet2DModel(
            sample_size=height,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=settings.channels,
            layers_per_block=1,
            norm_num_groups=settings.groups,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            add_attention=settings.mid_attention,
            num_train_timesteps=TIMESTEPS,
            class_embed_type="identity" if width else None,
            num_class_embeds=None if classes is None else classes + 1,
        )
    room = settings.channels[0] * 4
    if width and width > room:
        raise InputError(
            f"label vectors of {width} numbers do not fit the time embedding of {room}; give at "
            f"most {room}"
        )
    start_uniform(module, torch.Generator().manual_seed(settings.seed))
    return remove_skips(module, settings.removed_skips)


def build_scheduler(settings: GeneratorSettings) -> Any:
    """The DDIM scheduler for these settings: no clipping, trailing steps (sampling begins at pure
    noise).
    """
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_schedule=_BETAS[settings.schedule],
        prediction_type=settings.prediction,
        clip_sample=False,
        timestep_spacing="trailing",
    )


def load_generator(folder: str | Path) -> UNetModel:
    """A UNet from a diffusers folder, without the skips that its `recipe.json` says were removed.

    Raises:
        UnavailableError: the folder holds no loadable UNet.
        InputError: it holds another kind of network.

    Example:
        >>> model = load_generator("data/models/shapes_study")
    """
    located = locate(Path(folder))
    if not is_unet_folder(located.folder):
        raise InputError(
            f"{folder} holds no UNet; give the folder of one, as diffusers or `train_generator` "
            "saves it"
        )
    return load_unet(located.folder, name=located.name, weight_hash=located.weight_hash)
