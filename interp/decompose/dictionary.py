"""Dictionary: the result of a decomposition, the same for every method.

Notation here and in the papers:

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
    """The features of one site: `acts ≈ coefficients @ directions + offset`.

    `directions [feature, d]` are unit vectors; `offset [d]` is zero where the method has none.
    """

    directions: Float[Tensor, "feature d"]
    offset: Float[Tensor, " d"]
    provenance: Provenance

    method: ClassVar[Method]

    @property
    def site(self) -> str:
        """The site it was fitted at; empty if fitted to a bare tensor."""
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
        """How much of each feature each row contains; rows are read in chunks.

        Raises:
            InputError: the activations are of another site or width, or not finite.
        """
        self.require_same_space(acts)
        require_finite(acts)
        values = values_of(acts)
        parts = [self.directions.new_zeros(0, len(self))]
        with torch.no_grad():
            parts += [self._encode(chunk.to(self.directions)) for _, chunk in row_chunks(values)]
        return torch.cat(parts)

    def encoded(
        self,
        acts: Activations | Float[Tensor, "row d"],
        given: Float[Tensor, "row feature"] | None = None,
    ) -> Float[Tensor, "row feature"]:
        """The coefficients of activations: `given` if computed before, else `encode(acts)`.

        Raises:
            InputError: the activations are of another site or width, or not finite, or `given` has
                the wrong shape.
        """
        if given is None:
            return self.encode(acts)
        self.require_same_space(acts)
        require_finite(acts)
        wanted = (len(acts), len(self))
        if tuple(given.shape) != wanted:
            raise InputError(
                f"coefficients are {tuple(given.shape)}, expected {wanted}: [row, feature]"
            )
        return given

    def decode(self, coefficients: Float[Tensor, "row feature"]) -> Float[Tensor, "row d"]:
        """Activations from coefficients.

        Raises:
            InputError: a row has not one coefficient per feature.
        """
        if coefficients.shape[1] != len(self):
            raise InputError(
                f"coefficients are {coefficients.shape[1]} wide, the dictionary has {len(self)} "
                "features; encode with it"
            )
        return coefficients @ self.directions + self.offset

    def save(self, folder: str | Path) -> None:
        """Write the dictionary to a folder atomically; `load_dictionary` reads it.

        Raises:
            InputError: the folder holds something other than a dictionary.
            UnavailableError: the folder cannot be written.
        """
        save_dictionary(self, folder)

    def require_same_space(self, acts: Activations | Float[Tensor, "row d"]) -> None:
        """Check that activations have the dictionary's site and width.

        Raises:
            InputError: they have not.
        """
        site = self.provenance.site
        if isinstance(acts, Activations) and site is not None and acts.site != site:
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
        seconds = self.provenance.cost.get("seconds")
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
            ("seconds", None if seconds is None else f"{seconds:.1f}"),
        ]
        return block(
            type(self).__name__,
            facts(named),
            name=self.site,
            about=f"{features:,} features × {width:,}",
        )


def _short(value: Any) -> Any:
    """A parameter as a word or two: a long list as its length and first values."""
    if isinstance(value, (list, tuple)):
        first = ", ".join(_word(one) for one in value[:4])
        return foreign(first if len(value) <= 4 else f"{len(value)}: {first}, …")
    return foreign(_word(value))


def _word(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"
