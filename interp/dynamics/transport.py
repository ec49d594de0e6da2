"""Carrying directions between checkpoints by the rotation that best maps the activations."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Score, bootstrap_mean

HELD_OUT = 0.25


@dataclass(frozen=True, eq=False, kw_only=True)
class Transport:
    """An orthogonal map between two checkpoints' activations:
    `target − target_mean ≈ scale · (source − source_mean) @ rotation`.

    `explained` is the share of the target's variance explained on held-out rows; its control is a
    random rotation with its own scale. `unmoved` is the same without rotation: within one training
    run the axes persist, and a rotation must do better than none to be of use.
    """

    rotation: Float[Tensor, "d d"]
    source_mean: Float[Tensor, " d"]
    target_mean: Float[Tensor, " d"]
    scale: float
    explained: Score
    unmoved: Score

    def direction(self, direction: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
        """A direction of the source in the target's space, with the same norm.

        Raises:
            InputError: the direction has another width.
        """
        if direction.shape != self.source_mean.shape:
            raise InputError(
                f"the direction is {len(direction)} wide, the map {len(self.source_mean)}; "
                "give one of the source's site"
            )
        return direction.float() @ self.rotation

    def apply(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        """Activations of the source mapped to the target."""
        return self.scale * (values.float() - self.source_mean) @ self.rotation + self.target_mean


def fit_transport(
    source: Float[Tensor, "row d"],
    target: Float[Tensor, "other_row other_d"],
    *,
    held_out: float = HELD_OUT,
    seed: int = 0,
) -> Transport:
    """The rotation (or reflection) that best maps one checkpoint's activations to another's.

    `min over orthogonal R of ‖(source − mean) R − (target − mean)‖`, from the singular vectors of
    the cross-covariance.

    Args:
        source: `[row, d]`, for the same tokens as the target.
        target: `[row, d]`.
        held_out: the share of rows, drawn by `seed`, on which the fit is measured.

    Raises:
        InputError: the shapes differ, there are too few rows, a side is constant or not finite, or
            `held_out` is not between 0 and 1.

    Source: Schönemann 1966, through scipy. Cost: `row·d²` and `d³`.

    Example:
        >>> transport = fit_transport(final_acts.values, early_acts.values)
        >>> transport.direction(final_direction)
    """
    fitted, measured = _split(source, target, held_out, seed)
    first, second = source.double(), target.double()
    means = first[fitted].mean(dim=0), second[fitted].mean(dim=0)
    first, second = first - means[0], second - means[1]
    rotation = _procrustes(first[fitted], second[fitted])
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(rotation.shape, generator=generator, dtype=torch.float64)
    maps = {
        "fit": rotation,
        "random": torch.linalg.qr(drawn).Q,
        "none": torch.eye(len(rotation), dtype=torch.float64),
    }
    scales = {name: _scale(first[fitted] @ turn, second[fitted]) for name, turn in maps.items()}
    scores = {
        name: _explained(scales[name] * first[measured] @ turn, second[measured], seed)
        for name, turn in maps.items()
    }
    return Transport(
        rotation=rotation.float(),
        source_mean=means[0].float(),
        target_mean=means[1].float(),
        scale=scales["fit"],
        explained=replace(scores["fit"], control=scores["random"].value),
        unmoved=replace(scores["none"], control=scores["random"].value),
    )


def _procrustes(
    source: Float[Tensor, "row d"], target: Float[Tensor, "row d"]
) -> Float[Tensor, "d d"]:
    from scipy.linalg import orthogonal_procrustes

    rotation, _ = orthogonal_procrustes(source.numpy(), target.numpy())
    return torch.from_numpy(np.asarray(rotation))


def _scale(moved: Float[Tensor, "row d"], target: Float[Tensor, "row d"]) -> float:
    return float((moved * target).sum() / moved.square().sum())


def _explained(
    predicted: Float[Tensor, "row d"], target: Float[Tensor, "row d"], seed: int
) -> Score:
    """`1 − ‖target − predicted‖² / mean ‖target‖²` over rows."""
    total = target.square().sum(dim=1).mean()
    return bootstrap_mean((1 - (target - predicted).square().sum(dim=1) / total).numpy(), seed=seed)


def _split(
    source: Float[Tensor, "row d"],
    target: Float[Tensor, "other_row other_d"],
    held_out: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    if source.shape != target.shape:
        raise InputError(
            f"source is {tuple(source.shape)} and target {tuple(target.shape)}; record both on the "
            "same inputs at the same site"
        )
    if not 0 < held_out < 1:
        raise InputError(f"held_out is {held_out}; give a share between 0 and 1")
    measured = max(1, round(held_out * len(source)))
    if len(source) - measured < 2:
        raise InputError(
            f"{len(source)} rows cannot be split; give more rows than the {source.shape[1]} "
            "dimensions, if it is to mean anything"
        )
    for name, side in (("source", source), ("target", target)):
        if not bool(torch.isfinite(side).all()):
            raise InputError(f"{name} has values that are not finite; record it again in float32")
        if bool((side == side[:1]).all()):
            raise InputError(
                f"all rows of {name} are equal and no rotation can be told; give other inputs"
            )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(source)))
    return order[measured:], order[:measured]
