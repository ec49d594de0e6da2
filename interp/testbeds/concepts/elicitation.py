"""Eliciting a class that a network has never seen: prompts, exaggerated prompts, and shifts of the
prompt's embedding or of the bottleneck.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor

from interp.core import InputError
from interp.testbeds.concepts.network import (
    ConceptNetwork,
    sample_bottlenecks,
    sample_images,
    starting_noise,
)
from interp.testbeds.images.concept_shapes import HELD_OUT, ConceptSignals, concept_hits

ARMS = ("naive", "over_prompt", "linear", "linear_size", "mid", "random", "random_mid")
CONTROL_OF = {
    "over_prompt": "random",
    "linear": "random",
    "linear_size": "random",
    "mid": "random_mid",
}
"""The random arm that controls each."""
_RED_LARGE, _RED_SMALL, _BLUE_LARGE = 0, 1, 2
_DIRECTIONS = 1_000_003


@dataclass(frozen=True)
class ElicitationGrid:
    """The factors of each arm (random arms: of what they control), and the number of images each.

    Raises:
        InputError: no factor, or no images.
    """

    over_prompt: tuple[float, ...] = (1.5, 2.0, 3.0, 4.0)
    shift: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    images: int = 24

    def __post_init__(self) -> None:
        if not self.over_prompt or not self.shift or self.images < 1:
            raise InputError(
                f"{self} has an arm without factors, or no images; give at least one of each"
            )


@dataclass(frozen=True)
class _Setting:
    """One arm at one factor: the condition, and the shift of the bottleneck at every step."""

    arm: str
    factor: float
    embedding: Float[Tensor, " width"]
    mid: Float[Tensor, "step channel h w"] | None = None


@torch.no_grad()
def elicited(
    network: ConceptNetwork,
    signals: ConceptSignals,
    grid: ElicitationGrid | None = None,
    *,
    seed: int = 0,
) -> dict[str, dict[float, Bool[Tensor, " image"]]]:
    """Whether each image is of the held-out class (small, blue), by arm and factor; all arms start
    from the same noise.

    - `naive`: prompted for the class, `e(c)`. Its one factor is 0.
    - `over_prompt`: prompted for a blue `f` times as far from grey.
    - `linear`: `e(c) + f · (e(blue) − e(red))`, both large (seen in training).
    - `linear_size`: `e(c) + f · (e(small) − e(large))`, both red: where size is what lags.
    - `mid`: the bottleneck shifted by `f` times its mean difference, step by step, between images
      of large blue and large red from the same noise.
    - `random`, `random_mid`: `linear` and `mid` along a random direction for every factor, with the
      same norm (at every step).

    Every direction is this network's own; nothing is fitted to the held-out class.

    Cost: 25 settings of `grid.images` images each, in one batch; 0.5 s on a slow core with 24.

    Source: Park et al. 2024 for over-prompting and latent shifts; Kwon et al. 2023 for h-space.

    Example:
        >>> {
        ...     arm: {factor: hits.float().mean() for factor, hits in by.items()}
        ...     for arm, by in elicited(network, signals).items()
        ... }
    """
    grid = grid or ElicitationGrid()
    settings = _settings(network, signals, grid, seed)
    noise = starting_noise(grid.images, seed=seed)
    # All in one batch: a small network spends most of the time on starting operations.
    images = sample_images(
        network,
        torch.cat([setting.embedding.expand(grid.images, -1) for setting in settings]),
        repeat(noise, "image c y x -> (setting image) c y x", setting=len(settings)),
        mid_shifts=_shifts(settings, grid.images),
    )
    hits = torch.split(concept_hits(images, signals, HELD_OUT).all(dim=1), grid.images)
    found: dict[str, dict[float, Tensor]] = {arm: {} for arm in ARMS}
    for setting, hit in zip(settings, hits, strict=True):
        found[setting.arm][setting.factor] = hit
    return found


def best_factor(arm: Mapping[float, float]) -> float:
    """The factor with the highest accuracy, the smallest of equal ones.

    The best of a grid is biased upwards: compare it only with the best of a control's equal grid.

    Raises:
        InputError: there are no factors.
    """
    if not arm:
        raise InputError("an arm without factors has no best; give at least one")
    return max(sorted(arm), key=lambda factor: arm[factor])


def prompt_embedding(
    network: ConceptNetwork, prompt: Float[Tensor, "4"]
) -> Float[Tensor, " width"]:
    """The embedding of one prompt."""
    return torch.as_tensor(network.embed(prompt[None])[0])


def over_prompted(signals: ConceptSignals, factor: float) -> Float[Tensor, "4"]:
    """The held-out class's prompt with its colour `factor` times as far from grey."""
    prompt = signals.prompt(HELD_OUT)
    return torch.cat([0.5 + factor * (prompt[:3] - 0.5), prompt[3:]])


def mid_difference(
    network: ConceptNetwork, signals: ConceptSignals, *, images: int = 24, seed: int = 0
) -> Float[Tensor, "step channel h w"]:
    """The bottleneck's mean for large blue minus that for large red, at every sampling step, from
    the same noise.

    Cost: sampling `2 · images` images.
    """
    pair = torch.stack(
        [prompt_embedding(network, signals.prompt(index)) for index in (_BLUE_LARGE, _RED_LARGE)]
    )
    noise = starting_noise(images, seed=seed + 1)
    _, bottlenecks = sample_bottlenecks(
        network,
        repeat(pair.detach(), "kind width -> (kind image) width", image=images),
        repeat(noise, "image c y x -> (kind image) c y x", kind=2),
    )
    blue, red = torch.split(bottlenecks, images, dim=1)
    return torch.as_tensor(blue.mean(dim=1) - red.mean(dim=1))


def _settings(
    network: ConceptNetwork, signals: ConceptSignals, grid: ElicitationGrid, seed: int
) -> list[_Setting]:
    plain = prompt_embedding(network, signals.prompt(HELD_OUT))
    seen = {
        index: prompt_embedding(network, signals.prompt(index))
        for index in (_RED_LARGE, _RED_SMALL, _BLUE_LARGE)
    }
    colour, size = seen[_BLUE_LARGE] - seen[_RED_LARGE], seen[_RED_SMALL] - seen[_RED_LARGE]
    mid = mid_difference(network, signals, images=grid.images, seed=seed)
    # Not the noise's seed, or the directions would be its first numbers.
    generator = torch.Generator().manual_seed(seed + _DIRECTIONS)
    settings = [_Setting("naive", 0.0, plain)]
    settings += [
        _Setting("over_prompt", f, prompt_embedding(network, over_prompted(signals, f)))
        for f in grid.over_prompt
    ]
    for f in grid.shift:
        settings += [
            _Setting("linear", f, plain + f * colour),
            _Setting("linear_size", f, plain + f * size),
            _Setting("mid", f, plain, f * mid),
            _Setting("random", f, plain + f * _random_like(colour[None], generator)[0]),
            _Setting("random_mid", f, plain, f * _random_like(mid, generator)),
        ]
    return settings


def _random_like(directions: Tensor, generator: torch.Generator) -> Tensor:
    """One random direction, repeated with the norm of each row."""
    drawn = torch.randn(directions.shape[1:], generator=generator)
    norms = directions.flatten(1).norm(dim=1)
    return drawn / drawn.norm() * norms.view(-1, *([1] * drawn.ndim))


def _shifts(settings: list[_Setting], images: int) -> list[Float[Tensor, "image channel h w"]]:
    like = next(setting.mid for setting in settings if setting.mid is not None)
    every = torch.stack(
        [torch.zeros_like(like) if setting.mid is None else setting.mid for setting in settings],
        dim=1,
    )
    return list(repeat(every, "step setting c h w -> step (setting image) c h w", image=images))
