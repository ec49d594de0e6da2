"""The non-zero entries of a sparse coefficient matrix, and products that cost only those."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

# Per number, a sparse product takes about four times as long as a dense one (on a CPU).
DENSE = 0.25


@dataclass(frozen=True)
class Entries:
    """Places in a `[row, feature]` matrix, row by row: entry `i` is at `(row[i], feature[i])`; a
    row's first entry is `starts[row]`.
    """

    row: Int[Tensor, " entry"]
    feature: Int[Tensor, " entry"]
    starts: Int[Tensor, " rows"]
    n_features: int

    @classmethod
    def equally_many(cls, features: Int[Tensor, "rows k"], n_features: int) -> "Entries":
        """The same number of entries in every row."""
        n_rows, k = features.shape
        rows = torch.arange(n_rows, device=features.device)
        return cls(rows.repeat_interleave(k), features.flatten(), rows * k, n_features)

    @classmethod
    def numbered(cls, numbers: Int[Tensor, " entry"], n_rows: int, n_features: int) -> "Entries":
        """Entries by their ascending positions in the flattened matrix."""
        row = numbers // n_features
        return cls(row, numbers % n_features, _starts(row, n_rows), n_features)

    @classmethod
    def where(cls, mask: Bool[Tensor, "rows feature"]) -> "Entries":
        """The entries at which a mask is true."""
        return cls.numbered(torch.nonzero(mask.flatten()).flatten(), *mask.shape)

    def take(self, matrix: Float[Tensor, "rows feature"]) -> Float[Tensor, " entry"]:
        """The values of a matrix at the entries."""
        return matrix.flatten()[self.row * self.n_features + self.feature]

    def decode(
        self, values: Float[Tensor, " entry"], directions: Float[Tensor, "feature d"]
    ) -> tuple[
        Float[Tensor, "rows d"], Callable[[Float[Tensor, "rows d"]], Float[Tensor, " entry"]]
    ]:
        """The matrix times `directions`, and a function of `rows` that gives each entry's
        `rows[row] · directions[feature]`.
        """
        if self._many:
            return self._matrix(values) @ directions, lambda rows: self.take(rows @ directions.T)
        with torch.enable_grad():
            weights = values.detach().requires_grad_()
            product = embedding_bag(
                self.feature,
                directions.detach(),
                self.starts,
                mode="sum",
                per_sample_weights=weights,
            )
        # The gradient of a bag by its weights is these dot products, at the entries alone.
        return product.detach(), lambda rows: torch.autograd.grad(product, weights, rows)[0]

    def gather(
        self, values: Float[Tensor, " entry"], rows: Float[Tensor, "rows d"]
    ) -> Float[Tensor, "feature d"]:
        """The transposed matrix times `rows`."""
        if self._many:
            return self._matrix(values).T @ rows
        order, starts = self._by_feature
        return embedding_bag(
            self.row[order], rows, starts, mode="sum", per_sample_weights=values[order]
        )

    def total(self, values: Float[Tensor, " entry"]) -> Float[Tensor, " feature"]:
        """Each feature's sum over its entries."""
        return values.new_zeros(self.n_features).index_add_(0, self.feature, values)

    @property
    def _many(self) -> bool:
        """Whether a dense product is faster."""
        return len(self.row) > DENSE * len(self.starts) * self.n_features

    def _matrix(self, values: Float[Tensor, " entry"]) -> Float[Tensor, "rows feature"]:
        flat = values.new_zeros(len(self.starts) * self.n_features)
        flat[self.row * self.n_features + self.feature] = values
        return flat.view(len(self.starts), self.n_features)

    @cached_property
    def _by_feature(self) -> tuple[Int[Tensor, " entry"], Int[Tensor, " feature"]]:
        sorted_features, order = self.feature.sort(stable=True)
        return order, _starts(sorted_features, self.n_features)


def _starts(ascending: Int[Tensor, " entry"], count: int) -> Int[Tensor, " count"]:
    """Where each of 0 … count − 1 begins in a sorted list."""
    return torch.searchsorted(ascending, torch.arange(count, device=ascending.device))
