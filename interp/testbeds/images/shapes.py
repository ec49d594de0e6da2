"""Images of one soft-edged shape with known factors, and closed forms that read them back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.core.names import require_known

Kind = Literal["circle", "square", "triangle"]
SHAPE_FACTORS = ("x", "y", "radius", "colour")

HAZE = 0.05
"""Coverage below this is read as background: a generator's faint haze would shift every mean."""
LEAST_AREA = 0.004
"""A shape covering less than this share of the image is none: its factors are NaN."""
BRIGHTEST = 0.4

# Outward normals of the sides; a circle has none.
_NORMALS: dict[str, list[list[float]]] = {
    "square": [[1, 0], [-1, 0], [0, 1], [0, -1]],
    "triangle": [[0, 1], [3**0.5 / 2, -0.5], [-(3**0.5) / 2, -0.5]],
}
# area = constant × (distance of the sides from the centre)²
_AREA = {"circle": torch.pi, "square": 4.0, "triangle": 3 * 3**0.5}


@dataclass(frozen=True)
class ShapeRanges:
    """The range of each factor, drawn uniformly and independently; equal ends make it constant.

    `centre` (x and y) and `radius` are shares of the image's side; `colour` runs from 0 (blue) to 1
    (red), `background` from 0 (black) to at most 0.4.
    """

    centre: tuple[float, float] = (0.3, 0.7)
    radius: tuple[float, float] = (0.125, 0.28)
    colour: tuple[float, float] = (0.0, 1.0)
    background: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        most_of = {"centre": 1.0, "radius": 0.5, "colour": 1.0, "background": BRIGHTEST}
        for name, most in most_of.items():
            low, high = getattr(self, name)
            if not 0 <= low <= high <= most:
                raise InputError(
                    f"{name} is drawn from {low} to {high}; give two ends in order between 0 "
                    f"and {most}"
                )


@dataclass(frozen=True, kw_only=True)
class ShapeImages:
    """Images from −1 to 1 with their factors (lengths in pixels)."""

    images: Float[Tensor, "image 3 y x"]
    factors: Mapping[str, Float[Tensor, " image"]]
    kind: Kind
    seed: int
    ranges: ShapeRanges = field(default_factory=ShapeRanges)

    def __len__(self) -> int:
        return len(self.images)


def shape_images(
    count: int,
    *,
    size: int = 16,
    kind: Kind = "circle",
    ranges: ShapeRanges | None = None,
    seed: int = 0,
) -> ShapeImages:
    """Images of one shape each, with its x, y, radius, colour and the background's brightness.

    `radius` is that of the circle of equal area. A pixel at signed distance `d` from the outline
    has coverage `clip(½ − d, 0, 1)` (edges are one pixel soft), which mixes the shape's colour
    `(colour, 0, 1 − colour)` over the background's grey.

    Raises:
        InputError: no images, a side of less than 8 pixels, or an unknown kind.

    Cost: about 5 ms per 1,000 images of 16 × 16.

    Example:
        >>> data = shape_images(1000, seed=0)
        >>> read_shapes(data.images)["radius"]
    """
    require_known("kind", kind, _AREA)
    if count < 1 or size < 8:
        raise InputError(
            f"{count} images of {size} × {size} pixels were requested; give at least 1 image of at "
            "least 8 × 8"
        )
    ranges = ranges or ShapeRanges()
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        "x": _uniform(ranges.centre, count, generator) * size,
        "y": _uniform(ranges.centre, count, generator) * size,
        "radius": _uniform(ranges.radius, count, generator) * size,
        "colour": _uniform(ranges.colour, count, generator),
        "background": _uniform(ranges.background, count, generator),
    }
    return ShapeImages(
        images=_render(drawn, size, kind),
        factors=MappingProxyType(drawn),
        kind=kind,
        seed=seed,
        ranges=ranges,
    )


def read_shapes(images: Float[Tensor, "image 3 y x"]) -> dict[str, Float[Tensor, " image"]]:
    """Each image's x, y, radius and colour, by closed forms; NaN where there is no shape.

    The background `g` is the median of the frame's pixels. Red plus blue is
    `2g + coverage · (1 − 2g)`; the coverage of a circle sums to `π (radius² + 1/12)` (the soft edge
    adds the 1/12), its centre of mass is the centre, and the red minus the background's is
    `colour · coverage`.

    Cost: a few passes over the images.

    Example:
        >>> read_shapes(shape_images(2).images)["x"]
    """
    red, _, blue = ((images + 1) / 2).unbind(dim=1)
    ground = read_background(images)["background"].clamp(0, BRIGHTEST)[:, None, None]
    coverage = ((red + blue - 2 * ground) / (1 - 2 * ground)).clamp(0, 1)
    coverage = torch.where(coverage < HAZE, 0, coverage)
    area = coverage.sum(dim=(1, 2))
    none = area < LEAST_AREA * red[0].numel()
    share = coverage / area.clamp(min=1e-9)[:, None, None]
    rows, columns = (
        torch.arange(n, dtype=images.dtype, device=images.device) + 0.5 for n in red.shape[1:]
    )
    tinted = (red - ground * (1 - coverage)) * (coverage > 0)
    values = {
        "x": (share.sum(dim=1) * columns).sum(dim=1),
        "y": (share.sum(dim=2) * rows).sum(dim=1),
        "radius": (area / torch.pi - 1 / 12).clamp(min=0).sqrt(),
        "colour": tinted.sum(dim=(1, 2)) / area.clamp(min=1e-9),
    }
    return {name: torch.where(none, torch.nan, value) for name, value in values.items()}


def read_background(images: Float[Tensor, "image 3 y x"]) -> dict[str, Float[Tensor, " image"]]:
    """Each image's `background`: the median of the frame's pixels, from 0 (black) to 1.

    Example:
        >>> read_background(shape_images(2, ranges=ShapeRanges(background=(0.1, 0.3))).images)
    """
    return {"background": _frame((images + 1) / 2)}


def _uniform(
    ends: tuple[float, float], count: int, generator: torch.Generator
) -> Float[Tensor, " image"]:
    return ends[0] + (ends[1] - ends[0]) * torch.rand(count, generator=generator)


def _render(
    drawn: Mapping[str, Float[Tensor, " image"]], size: int, kind: Kind
) -> Float[Tensor, "image 3 y x"]:
    places = torch.arange(size) + 0.5
    across = places[None, None, :] - drawn["x"][:, None, None]
    down = places[None, :, None] - drawn["y"][:, None, None]
    side = drawn["radius"] * (torch.pi / _AREA[kind]) ** 0.5
    coverage = (0.5 - (_distance(across, down, kind) - side[:, None, None])).clamp(0, 1)[:, None]
    red = drawn["colour"]
    colour = torch.stack([red, torch.zeros_like(red), 1 - red], dim=1)[..., None, None]
    ground = drawn["background"][:, None, None, None]
    return 2 * (ground + coverage * (colour - ground)) - 1


def _distance(
    across: Float[Tensor, "image 1 x"], down: Float[Tensor, "image y 1"], kind: Kind
) -> Float[Tensor, "image y x"]:
    """A pixel's distance from the centre, perpendicular to the nearest side."""
    if kind == "circle":
        return torch.hypot(across, down)
    return torch.stack([across * right + down * below for right, below in _NORMALS[kind]]).amax(
        dim=0
    )


def _frame(images: Float[Tensor, "image 3 y x"]) -> Float[Tensor, " image"]:
    edges = (images[:, :, 0], images[:, :, -1], images[:, :, :, 0], images[:, :, :, -1])
    return torch.cat([edge.flatten(1) for edge in edges], dim=1).median(dim=1).values
