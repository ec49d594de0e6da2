"""Circles whose colour and size differ by a known signal, and closed forms that read them back."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.core import InputError, Score, bootstrap_mean

CONCEPTS = ("colour", "size")
CLASSES = ("red large", "red small", "blue large", "blue small")
"""A class is `2 · blue + small`."""
SEEN = (0, 1, 2)
HELD_OUT = 3
SIDE = 12
BACKGROUND = 0.9
MIDDLE_RADIUS = 0.45
HAZE = 0.05
"""Coverage below this is read as background."""
LEAST_AREA = 0.004
"""A circle covering less than this share of the image is none: its readings are NaN."""


@dataclass(frozen=True)
class ConceptSignals:
    """The strength of each concept in the data: how far apart its two values are.

    Red is `(½ + h, ½ − h, ½ − h)` and blue `(½ − h, ½ − h, ½ + h)` with `h = colour / 2`; the
    radius is `0.45 ± size / 2` of half the image's side. Colour and radius of each image are
    jittered uniformly, by up to `colour / 8` per channel and `3 size / 8`.

    Raises:
        InputError: a signal below 0, colour above 0.8 or size above 0.4.

    Source: Park et al. 2024 (arXiv 2406.19370), appendix.
    """

    colour: float = 0.2
    size: float = 0.4

    def __post_init__(self) -> None:
        for name, most in (("colour", 0.8), ("size", 0.4)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"the {name} signal is {getattr(self, name)}; give 0 to {most}")

    def prompt(self, index: int) -> Float[Tensor, "4"]:
        """The mean red, green, blue and radius of a class: its prompt."""
        require_class(index)
        near, far = 0.5 - self.colour / 2, 0.5 + self.colour / 2
        colour = (near, near, far) if index >= 2 else (far, near, near)
        radius = MIDDLE_RADIUS + (-0.5 if index % 2 else 0.5) * self.size
        return torch.tensor([*colour, radius])


@dataclass(frozen=True, kw_only=True)
class ConceptImages:
    """Images from −1 to 1, each with its class, red, green, blue and radius."""

    images: Float[Tensor, "image 3 y x"]
    conditions: Float[Tensor, "image 4"]
    classes: Int[Tensor, " image"]
    signals: ConceptSignals
    seed: int

    def __len__(self) -> int:
        return len(self.images)


def concept_images(
    signals: ConceptSignals, per_class: int, *, classes: tuple[int, ...] = SEEN, seed: int = 0
) -> ConceptImages:
    """Images of 12 × 12 pixels of a central circle, `per_class` of each class.

    A pixel whose centre is `d` pixels outside the circle has coverage `clip(½ − d, 0, 1)`, which
    mixes the colour over a background of 0.9.

    Raises:
        InputError: no images, or an unknown class.

    Cost: 20 ms per 1,000 images.

    Example:
        >>> data = concept_images(ConceptSignals(colour=0.2), 100)
        >>> concept_readings(data.images, data.signals)["radius"]
    """
    if per_class < 1 or not classes:
        raise InputError(
            f"{per_class} images of {len(classes)} classes were requested; give at least 1 of 1"
        )
    generator = torch.Generator().manual_seed(seed)
    middle = torch.stack([signals.prompt(index) for index in classes]).repeat_interleave(
        per_class, dim=0
    )
    spread = torch.tensor([signals.colour / 8] * 3 + [3 * signals.size / 8])
    conditions = middle + spread * (2 * torch.rand(len(middle), 4, generator=generator) - 1)
    return ConceptImages(
        images=_render(conditions),
        conditions=conditions,
        classes=torch.tensor(classes).repeat_interleave(per_class),
        signals=signals,
        seed=seed,
    )


def concept_readings(
    images: Float[Tensor, "image 3 y x"], signals: ConceptSignals
) -> dict[str, Float[Tensor, " image"]]:
    """Each image's `red_less_blue` and `radius` by closed forms; NaN where there is no circle.

    Green is the same for red and blue, so `coverage = (0.9 − green) / (0.9 − ½ + h)`. It sums to
    `π (radius² + 1/12)` in pixels (the soft edge adds the 1/12); red minus blue, 0 in the
    background, is divided by that sum.

    Cost: a few passes over the images.
    """
    red, green, blue = ((images + 1) / 2).unbind(dim=1)
    coverage = ((BACKGROUND - green) / (BACKGROUND - 0.5 + signals.colour / 2)).clamp(0, 1)
    coverage = torch.where(coverage < HAZE, 0, coverage)
    area = coverage.sum(dim=(1, 2))
    none = area < LEAST_AREA * green[0].numel()
    difference = ((red - blue) * (coverage > 0)).sum(dim=(1, 2)) / area.clamp(min=1e-9)
    radius = (area / torch.pi - 1 / 12).clamp(min=0).sqrt() * 2 / images.shape[-1]
    return {
        "red_less_blue": torch.where(none, torch.nan, difference),
        "radius": torch.where(none, torch.nan, radius),
    }


def concept_coordinates(
    images: Float[Tensor, "image 3 y x"], signals: ConceptSignals
) -> Float[Tensor, "image 2"]:
    """How blue (0: mean red, 1: mean blue) and how small (0: large, 1: small) each image is, in
    0…1.

    Without a circle both are ½. The held-out class lies at (1, 1).

    Raises:
        InputError: a signal is 0.
    """
    if min(signals.colour, signals.size) == 0:
        raise InputError(
            f"{signals} has a signal of 0, along which nothing can be measured; give positive ones"
        )
    read = concept_readings(images, signals)
    blue = 0.5 - read["red_less_blue"] / (2 * signals.colour)
    small = 0.5 + (MIDDLE_RADIUS - read["radius"]) / signals.size
    return torch.stack([blue, small], dim=1).nan_to_num(0.5).clamp(0, 1)


def concept_hits(
    images: Float[Tensor, "image 3 y x"], signals: ConceptSignals, index: int
) -> Bool[Tensor, "image 2"]:
    """Whether each image is read as the class's colour and size; without a circle, as neither.

    Raises:
        InputError: an unknown class.
    """
    require_class(index)
    read = concept_readings(images, signals)
    colour = read["red_less_blue"] < 0 if index >= 2 else read["red_less_blue"] >= 0
    size = read["radius"] < MIDDLE_RADIUS if index % 2 else read["radius"] >= MIDDLE_RADIUS
    return torch.stack([colour, size], dim=1)


def reader_accuracy(
    signals: ConceptSignals, *, per_class: int = 64, seed: int = 0
) -> dict[str, Score]:
    """The readers' accuracy on images of all four classes; the control is that with permuted
    classes.

    Example:
        >>> reader_accuracy(ConceptSignals(colour=0.1))["colour"]
    """
    data = concept_images(signals, per_class, classes=(0, 1, 2, 3), seed=seed)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    right = _right(data.images, signals, data.classes)
    control = _right(data.images, signals, data.classes[order])
    return {
        name: bootstrap_mean(
            right[:, place].double().numpy(),
            seed=seed,
            control=float(control[:, place].double().mean()),
        )
        for place, name in enumerate(CONCEPTS)
    }


def require_told_apart(
    signals: ConceptSignals, *, at_least: float = 0.95, seed: int = 0
) -> dict[str, Score]:
    """The readers' accuracies, if all are good enough.

    Raises:
        InputError: a reader is below `at_least`; the message holds its accuracy.
    """
    scores = reader_accuracy(signals, seed=seed)
    for name, score in scores.items():
        if score.value < at_least:
            raise InputError(
                f"{name} is not told apart by its reader at {signals}: accuracy {score}, "
                f"expected {at_least}; raise its signal"
            )
    return scores


def require_class(index: int) -> None:
    """Require a known class.

    Raises:
        InputError: the class is unknown.
    """
    if not 0 <= index < len(CLASSES):
        raise InputError(
            f"class {index} is unknown; give 0 to {len(CLASSES) - 1}: {', '.join(CLASSES)}"
        )


def _render(conditions: Float[Tensor, "image 4"]) -> Float[Tensor, "image 3 y x"]:
    places = torch.arange(SIDE) + 0.5 - SIDE / 2
    distance = torch.hypot(places[None, :], places[:, None])
    coverage = (0.5 - (distance - conditions[:, 3, None, None] * SIDE / 2)).clamp(0, 1)[:, None]
    return 2 * (BACKGROUND + coverage * (conditions[:, :3, None, None] - BACKGROUND)) - 1


def _right(
    images: Float[Tensor, "image 3 y x"], signals: ConceptSignals, classes: Int[Tensor, " image"]
) -> Bool[Tensor, "image 2"]:
    every = torch.stack([concept_hits(images, signals, index) for index in range(len(CLASSES))])
    return every[classes, torch.arange(len(images))]
