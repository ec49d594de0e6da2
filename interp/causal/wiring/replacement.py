"""What replaces a contribution: zero, a mean, a counterfactual's value, or the value with a
direction removed or added.

Different values give different true graphs (an edge that carries only positions is invisible to a
counterfactual of the same length), so every result names its value.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

Value = Literal["zero", "mean", "resample", "project out", "add"]


class Changes(ABC):
    """For every source, replacement minus value, for the rows of one batch.

    `value [row, …]` is the source's output; where several copies of the batch run at once,
    `[copy · row, …]`, copy after copy.
    """

    name: Value

    @abstractmethod
    def change(self, source: int, value: Tensor) -> Tensor:
        """What to add to the source's contribution."""


@dataclass(frozen=True)
class Zero(Changes):
    """Remove the contribution."""

    name: Value = field(default="zero", init=False)

    def change(self, source: int, value: Tensor) -> Tensor:
        """`−value`."""
        return -value


@dataclass(frozen=True)
class Swap(Changes):
    """Substitute a counterfactual's values (`resample`, one per row) or a mean (one for all)."""

    values: Sequence[Tensor]
    name: Value = "resample"

    def change(self, source: int, value: Tensor) -> Tensor:
        """`other − value`."""
        other = self.values[source]
        if len(other) not in (1, len(value)):
            other = repeat(other, "row ... -> (copy row) ...", copy=len(value) // len(other))
        return other - value


@dataclass(frozen=True)
class ProjectedOut(Changes):
    """Remove the component along a direction at the given sources; the others stay."""

    directions: Mapping[int, Float[Tensor, " d"]]
    axis: int = -1
    name: Value = field(default="project out", init=False)

    def change(self, source: int, value: Tensor) -> Tensor:
        """`−(value · d̂) d̂`, zero at a source without a direction."""
        if source not in self.directions:
            return torch.zeros_like(value)
        unit = torch.nn.functional.normalize(self.directions[source].to(value), dim=0)
        last = value.movedim(self.axis, -1)
        return -((last @ unit)[..., None] * unit).movedim(-1, self.axis)


@dataclass(frozen=True)
class Added(Changes):
    """Add a vector at the given sources; the others stay."""

    vectors: Mapping[int, Float[Tensor, " d"]]
    axis: int = -1
    name: Value = field(default="add", init=False)

    def change(self, source: int, value: Tensor) -> Tensor:
        """The vector, zero at a source without one."""
        if source not in self.vectors:
            return torch.zeros_like(value)
        return (
            self.vectors[source]
            .to(value)
            .expand_as(value.movedim(self.axis, -1))
            .movedim(-1, self.axis)
        )


def averaged(
    values: Sequence[Tensor], weights: Float[Tensor, "row position"] | None = None
) -> list[Tensor]:
    """The mean of every source over rows, or over rows and positions as `weights` say; kept axes
    have size 1.
    """
    if weights is None:
        return [value.mean(dim=0, keepdim=True) for value in values]
    share = (weights / weights.sum())[..., None]
    return [(value * share).sum(dim=(0, 1), keepdim=True) for value in values]
