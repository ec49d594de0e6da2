"""Dictionary: the result of a decomposition, the same for every method.

The letters of the papers, in one place:

| here                               | semi-NMF (Ding, Li & Jordan 2010) | MLP-SNMF (Shafran et al. 2025) | scikit-learn |
|------------------------------------|-----------------------------------|--------------------------------|--------------|
| activations `acts [row, d]`        | Xᵀ                                | Aᵀ                             | X            |
| directions `[feature, d]`          | Fᵀ                                | Zᵀ                             | H            |
| coefficients `[row, feature]`      | G                                 | Yᵀ                             | W            |
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError, Provenance

Method = Literal["snmf", "sae", "difference_in_means", "pca", "random"]


@dataclass(frozen=True)
class Dictionary(ABC):
    """A set of features of one site: `acts ≈ coefficients @ directions + offset`.

    `directions [feature, d]` are unit vectors; `offset [d]` is zero where the method has none. `provenance.site` is where it was fitted.
    """

    directions: Float[Tensor, "feature d"]
    offset: Float[Tensor, " d"]
    provenance: Provenance

    method: ClassVar[Method]

    @property
    def site(self) -> str:
        """The site the dictionary was fitted at."""
        return self.provenance.site or ""

    def __len__(self) -> int:
        return len(self.directions)

    def encode(self, acts: Activations | Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        """How much of each feature each row holds.

        Raises:
            InputError: the activations are of another site or width, or not finite.
        """
        return self._encode(self._values(acts))

    def decode(self, coefficients: Float[Tensor, "row feature"]) -> Float[Tensor, "row d"]:
        """Activations from coefficients."""
        return coefficients @ self.directions + self.offset

    @abstractmethod
    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]: ...

    def _values(self, acts: Activations | Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        if isinstance(acts, Activations):
            if acts.site != self.site:
                raise InputError(
                    f"activations of {acts.site!r} given to a dictionary fitted at {self.site!r}; record {self.site!r} or fit at {acts.site!r}"
                )
            acts.require_finite()
            values = acts.values
        else:
            values = acts
        if values.shape[1] != self.directions.shape[1]:
            raise InputError(
                f"activations are {values.shape[1]} wide, the dictionary {self.directions.shape[1]}; record the site {self.site!r} of the same model"
            )
        return values.to(self.directions)
