"""Rows as semi-NMF sees them: raw, but massive ones at an ordinary norm."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.decompose.checks import row_chunks

MASSIVE = 10.0


def massive_rows(values: Float[Tensor, "row d"]) -> tuple[Float[Tensor, " row"], float]:
    """Each row's factor, which brings massive rows to an ordinary norm and is otherwise 1, and the
    norm above which a row is massive.

    The limit is 10 times the median norm of non-zero rows, or 3 times their 95 % quantile if
    larger: such rows (attention sinks) would dominate the squared error.
    """
    norms = torch.empty(len(values), device=values.device)
    for rows, chunk in row_chunks(values):
        norms[rows] = chunk.norm(dim=1)
    present = norms[norms > 0].sort().values
    ordinary = max(
        float(present[len(present) // 2]), 0.3 * float(present[int(0.95 * len(present))])
    )
    limit = MASSIVE * ordinary
    return torch.where(
        norms > limit, ordinary / norms.clamp(min=ordinary), torch.ones_like(norms)
    ), limit


@dataclass(frozen=True)
class Scaled:
    """Rows and their factors; factors other than 1 mark massive rows."""

    values: Float[Tensor, "row d"]
    scale: Float[Tensor, " row"]
    limit: float

    @property
    def n_massive(self) -> int:
        """How many rows are scaled down."""
        return int((self.scale != 1).sum())

    def chunks(self) -> Iterator[tuple[slice, Float[Tensor, "chunk d"], Float[Tensor, " chunk"]]]:
        """Chunks of rows, unscaled, with their factors."""
        for rows, chunk in row_chunks(self.values):
            yield rows, chunk, self.scale[rows]

    def squared_norms(self) -> Float[Tensor, " row"]:
        """Each scaled row's squared norm."""
        norms = torch.empty_like(self.scale)
        for rows, chunk, scale in self.chunks():
            norms[rows] = (chunk.norm(dim=1) * scale).square()
        return norms

    def sample(self, count: int, generator: torch.Generator) -> "Scaled":
        """At most `count` rows drawn without replacement, in order."""
        if len(self.values) <= count:
            return self
        rows = (
            torch.randperm(len(self.values), generator=generator)[:count]
            .sort()
            .values.to(self.values.device)
        )
        return Scaled(self.values[rows].detach(), self.scale[rows], self.limit)

    def row(self, index: int) -> Float[Tensor, " d"]:
        """One scaled row."""
        return self.values[index].detach().to(torch.float32) * self.scale[index]
