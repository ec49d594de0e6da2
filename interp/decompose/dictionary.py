"""Dictionary: the result of a decomposition, the same for every method.

The letters of the papers, in one place:

| here                          | Ding, Li & Jordan 2010 | Shafran et al. 2025 | scikit-learn |
|-------------------------------|------------------------|---------------------|--------------|
| activations `acts [row, d]`   | Xᵀ                     | Aᵀ                  | X            |
| directions `[feature, d]`     | Fᵀ                     | Zᵀ                  | H            |
| coefficients `[row, feature]` | G                      | Yᵀ                  | W            |
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError, Provenance
from interp.core.activations import values_of
from interp.core.display.markup import block, facts, foreign
from interp.decompose.checks import require_finite, row_chunks
from interp.decompose.storage import save_dictionary

Method = Literal["snmf", "sae", "difference_in_means", "pca", "random"]


@dataclass(frozen=True, eq=False, repr=False)
class Dictionary(ABC):
    """A set of features of one site: `acts ≈ coefficients @ directions + offset`.

    `directions [feature, d]` are unit vectors; `offset [d]` is zero where the method has none.
    `provenance.site` is where it was fitted.
    """

    directions: Float[Tensor, "feature d"]
    offset: Float[Tensor, " d"]
    provenance: Provenance

    method: ClassVar[Method]

    @property
    def site(self) -> str:
        """The site the dictionary was fitted at; empty if it was fitted to a bare tensor."""
        return self.provenance.site or ""

    def __len__(self) -> int:
        return len(self.directions)

    def __repr__(self) -> str:
        features, width = self.directions.shape
        return (
            f"{type(self).__name__}({self.site or 'a tensor'}: {features:,} features × "
            f"{width:,}, seed {self.provenance.seed})"
        )

    def encode(self, acts: Activations | Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        """How much of each feature each row holds; rows are read chunk by chunk.

        Raises:
            InputError: the activations are of another site or width, or not finite.
        """
        self.require_same_space(acts)
        require_finite(acts)
        values = values_of(acts)
        empty = self.directions.new_zeros(0, len(self))
        with torch.no_grad():
            return torch.cat(
                [
                    empty,
                    *(self._encode(chunk.to(self.directions)) for _, chunk in row_chunks(values)),
                ]
            )

    def encoded(
        self,
        acts: Activations | Float[Tensor, "row d"],
        given: Float[Tensor, "row feature"] | None = None,
    ) -> Float[Tensor, "row feature"]:
        """The coefficients of some activations: `given` where they have been computed before, else
        `encode(acts)`.

        Raises:
            InputError: the activations are of another site or width, or not finite, or `given` are
                not their coefficients by shape.
        """
        if given is None:
            return self.encode(acts)
        self.require_same_space(acts)
        require_finite(acts)
        rows = len(acts)
        if tuple(given.shape) != (rows, len(self)):
            raise InputError(
                f"coefficients are {tuple(given.shape)}, expected {(rows, len(self))}: one row "
                "each and one feature each"
            )
        return given

    def decode(self, coefficients: Float[Tensor, "row feature"]) -> Float[Tensor, "row d"]:
        """Activations from coefficients.

        Raises:
            InputError: there are not as many coefficients in a row as features.
        """
        if coefficients.shape[1] != len(self):
            raise InputError(
                f"coefficients are {coefficients.shape[1]} wide, the dictionary has {len(self)} "
                "features; encode with it"
            )
        return coefficients @ self.directions + self.offset

    def save(self, folder: str | Path) -> None:
        """Write the dictionary to a folder, whole or not at all; `load_dictionary` reads it.

        Raises:
            InputError: the folder holds something other than a dictionary.
            UnavailableError: the folder cannot be written.
        """
        save_dictionary(self, folder)

    def require_same_space(self, acts: Activations | Float[Tensor, "row d"]) -> None:
        """Check that activations are of the site and width that the dictionary was fitted to.

        Raises:
            InputError: they are not.
        """
        if (
            isinstance(acts, Activations)
            and self.provenance.site is not None
            and acts.site != self.site
        ):
            raise InputError(
                f"activations of {acts.site!r} given to a dictionary fitted at {self.site!r}; "
                f"record {self.site!r} or fit at {acts.site!r}"
            )
        width = values_of(acts).shape[1]
        if width != self.directions.shape[1]:
            raise InputError(
                f"activations are {width} wide, the dictionary {self.directions.shape[1]}; record "
                f"the site {self.site!r} of the same model"
            )

    @abstractmethod
    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]: ...

    def _repr_html_(self) -> str:
        features, width = self.directions.shape
        density = float((self.directions != 0).float().mean()) if self.directions.numel() else 0.0
        named = [
            ("neurons per direction", f"{density:.1%}"),
            ("offset", "yes" if bool(self.offset.any()) else "none"),
            *(
                (key.replace("_", " "), _short(value))
                for key, value in self.provenance.parameters.items()
                if key != "n_features"
            ),
            ("seed", self.provenance.seed),
            ("model", self.provenance.model and foreign(self.provenance.model)),
            (
                "seconds",
                f"{self.provenance.cost['seconds']:.1f}"
                if "seconds" in self.provenance.cost
                else None,
            ),
        ]
        return block(
            type(self).__name__,
            facts(named),
            name=self.site,
            about=f"{features:,} features × {width:,}",
        )


def _short(value: Any) -> Any:
    """A parameter as a word or two; of a long list its length and its first."""
    if isinstance(value, (list, tuple)):
        first = ", ".join(_word(one) for one in value[:4])
        return foreign(first if len(value) <= 4 else f"{len(value)}: {first}, …")
    return foreign(_word(value))


def _word(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"
