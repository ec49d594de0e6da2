"""A pendulum, a light and the shadow they cast: factors with known causes, as in CausalVAE (Yang
et al. 2021).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError

PENDULUM_FACTORS = ("light", "angle", "shadow", "length")

# Shares of the image's side, y downwards.
PIVOT = (0.5, 0.3)
ROD = 0.34
BALL = 0.07
LIGHT_HEIGHT = 0.08
LIGHT_RADIUS = 0.06
GROUND = 0.88
THICKNESS = 0.08
ROD_HALF_WIDTH = 0.02
LIGHTS = (0.4, 0.6)
ANGLES = (-0.55, 0.55)

HAZE = 0.05
LEAST = 0.002


@dataclass(frozen=True)
class PendulumImages:
    """Images from −1 to 1 with the light's x, the pendulum's angle, and the shadow's middle and
    length.
    """

    images: Float[Tensor, "image 3 y x"]
    factors: Mapping[str, Float[Tensor, " image"]]
    seed: int

    def __len__(self) -> int:
        return len(self.images)


def pendulum_images(
    count: int,
    *,
    size: int = 32,
    lights: tuple[float, float] = LIGHTS,
    angles: tuple[float, float] = ANGLES,
    seed: int = 0,
) -> PendulumImages:
    """Images of a light in red, rod and ball in green, and the ball's shadow on the ground in blue,
    all soft-edged.

    `light` (its x) and `angle` (radians, positive to the right) are drawn uniformly and
    independently; the shadow's middle and length follow (`shadow_of`). Lengths are shares of the
    image's side.

    Raises:
        InputError: no images, fewer than 32 pixels, or ranges whose shadows would leave the image.

    Cost: about 30 ms per 1,000 images of 32 × 32.

    Example:
        >>> data = pendulum_images(1000, seed=0)
        >>> data.factors["shadow"]
    """
    if count < 1 or size < 32:
        raise InputError(
            f"{count} images of {size} × {size} pixels were requested; give at least 1 image of at "
            "least 32 × 32"
        )
    _require_inside(lights, angles)
    generator = torch.Generator().manual_seed(seed)
    light = lights[0] + (lights[1] - lights[0]) * torch.rand(count, generator=generator)
    angle = angles[0] + (angles[1] - angles[0]) * torch.rand(count, generator=generator)
    shadow, length = shadow_of(light, angle)
    factors = {"light": light, "angle": angle, "shadow": shadow, "length": length}
    return PendulumImages(_render(factors, size), MappingProxyType(factors), seed)


def shadow_of(
    light: Float[Tensor, " image"], angle: Float[Tensor, " image"]
) -> tuple[Float[Tensor, " image"], Float[Tensor, " image"]]:
    """The middle and the length of the ball's shadow on the ground.

    From the light, the ball's centre lies at `φ = atan2(right, down)` from straight down and the
    ball covers `φ ± arcsin(radius / distance)`; a ray at `ψ` meets the ground at
    `light + height · tan ψ`.

    Example:
        >>> shadow_of(torch.tensor([0.5]), torch.tensor([0.0]))
    """
    right = PIVOT[0] + ROD * angle.sin() - light
    down = PIVOT[1] + ROD * angle.cos() - LIGHT_HEIGHT
    middle, half = torch.atan2(right, down), torch.asin(BALL / torch.hypot(right, down))
    ends = [light + (GROUND - LIGHT_HEIGHT) * torch.tan(middle + sign * half) for sign in (-1, 1)]
    return (ends[0] + ends[1]) / 2, ends[1] - ends[0]


def read_pendulum(images: Float[Tensor, "image 3 y x"]) -> dict[str, Float[Tensor, " image"]]:
    """Each image's light, angle, shadow and length, by closed forms; NaN where any is missing.

    Each object has its own colour channel. Light and shadow lie at their centres of mass; the
    pendulum is symmetric, so its centre of mass lies on the rod's line through the pivot; the
    shadow's length is its area divided by its thickness.

    Cost: a few passes over the images.

    Example:
        >>> read_pendulum(pendulum_images(2).images)["angle"]
    """
    bright = ((images + 1) / 2).clamp(0, 1)
    bright = torch.where(bright < HAZE, 0, bright)
    size = images.shape[-1]
    mass = bright.sum(dim=(2, 3))
    places = (torch.arange(size, dtype=images.dtype, device=images.device) + 0.5) / size
    share = bright / mass.clamp(min=1e-9)[:, :, None, None]
    x, y = (share * places).sum(dim=(2, 3)), (share * places[:, None]).sum(dim=(2, 3))
    values = {
        "light": x[:, 0],
        "angle": torch.atan2(x[:, 1] - PIVOT[0], y[:, 1] - PIVOT[1]),
        "shadow": x[:, 2],
        "length": mass[:, 2] / (size**2 * THICKNESS),
    }
    none = (mass < LEAST * size**2).any(dim=1)
    return {name: torch.where(none, torch.nan, value) for name, value in values.items()}


def _require_inside(lights: tuple[float, float], angles: tuple[float, float]) -> None:
    if not (
        0 <= lights[0] <= lights[1] <= 1 and -math.pi / 2 < angles[0] <= angles[1] < math.pi / 2
    ):
        raise InputError(
            f"lights {lights} and angles {angles} were given; give ends in order, lights in 0..1, "
            "angles within ±π/2"
        )
    # The shadow is monotonic in both, so its extremes lie at the corners of their ranges.
    light, angle = torch.tensor(list(product(lights, angles))).T
    middle, length = shadow_of(light, angle)
    low, high = float((middle - length / 2).min()), float((middle + length / 2).max())
    if low < 0 or high > 1:
        raise InputError(
            f"the shadow would run from {low:.2f} to {high:.2f} of the image's side; narrow the "
            "lights or angles"
        )


def _render(
    factors: Mapping[str, Float[Tensor, " image"]], size: int
) -> Float[Tensor, "image 3 y x"]:
    places = (torch.arange(size) + 0.5) / size
    x, y = places[None, None, :], places[None, :, None]
    light, angle, shadow, length = (factors[name][:, None, None] for name in PENDULUM_FACTORS)
    sine, cosine = angle.sin(), angle.cos()
    ball = torch.hypot(x - PIVOT[0] - ROD * sine, y - PIVOT[1] - ROD * cosine) - BALL
    along = (x - PIVOT[0]) * sine + (y - PIVOT[1]) * cosine
    beside = ((x - PIVOT[0]) * cosine - (y - PIVOT[1]) * sine).abs()
    rod = torch.maximum(beside - ROD_HALF_WIDTH, (along - ROD / 2).abs() - ROD / 2)
    lamp = torch.hypot(x - light, y - LIGHT_HEIGHT) - LIGHT_RADIUS
    bar = _soft((x - shadow).abs() - length / 2, size) * _soft(
        (y - GROUND).abs() - THICKNESS / 2, size
    )
    parts = [_soft(lamp, size), _soft(torch.minimum(ball, rod), size), bar]
    return 2 * torch.stack(parts, dim=1) - 1


def _soft(distance: Float[Tensor, "..."], size: int) -> Float[Tensor, "..."]:
    """Coverage at a signed distance from an outline, one pixel soft."""
    return (0.5 - distance * size).clamp(0, 1)
