"""Hierarchies: each dictionary factors the directions of the one before, from fine to broad."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError, UnavailableError
from interp.core.display.markup import block, table
from interp.core.files import read_json, read_tensors, replacing_folder, write_json
from interp.decompose.dictionary import Dictionary

Fit = Callable[[Activations | Tensor, int], Dictionary]
"""Rows and a number of features to a dictionary: `partial(fit_snmf, sparsity=0.01, seed=0)`."""

DESCRIPTION = "hierarchy.json"
WEIGHTS = "weights.safetensors"
FORMAT = 1


@dataclass(frozen=True, eq=False, repr=False)
class Hierarchy:
    """Dictionaries of one site, from many features to few:
    `levels[l].directions ≈ weights[l] @ levels[l + 1].directions`.

    `weights[l] [feature of level l, feature of level l + 1]` ≥ 0 says how much of each broad
    feature is in each fine one.

    Raises:
        InputError: weights and levels do not fit each other, or a weight is negative or not finite.
    """

    levels: tuple[Dictionary, ...]
    weights: tuple[Float[Tensor, "_ _"], ...]

    def __post_init__(self) -> None:
        wanted = [(len(fine), len(broad)) for fine, broad in pairwise(self.levels)]
        shapes = [tuple(own.shape) for own in self.weights]
        if not self.levels or shapes != wanted:
            raise InputError(
                f"weights are {shapes}, expected {wanted} for levels of {self.sizes} features"
            )
        for level, own in enumerate(self.weights):
            if not bool((torch.isfinite(own) & (own >= 0)).all()):
                raise InputError(
                    f"weights from level {level} to {level + 1} hold negative or undefined values; "
                    "use a non-negative method"
                )

    def __repr__(self) -> str:
        return (
            f"Hierarchy({' > '.join(map(str, self.sizes))} features at "
            f"{self.levels[0].site or 'a tensor'})"
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of features of each level, finest first."""
        return tuple(len(level) for level in self.levels)

    def mixing(self, level: int) -> Float[Tensor, "feature level_feature"]:
        """How much of each feature of a level is in each feature of level 0: the product of the
        weights in between.

        Raises:
            InputError: there is no such level.
        """
        if not 0 <= level < len(self.levels):
            raise InputError(
                f"level {level} does not exist; the hierarchy has levels 0 to "
                f"{len(self.levels) - 1}"
            )
        product = torch.eye(len(self.levels[0]), device=self.levels[0].directions.device)
        for own in self.weights[:level]:
            product = product @ own
        return product

    def coefficients(
        self, acts: Activations | Float[Tensor, "row d"], level: int
    ) -> Float[Tensor, "row level_feature"]:
        """How much of each feature of a level each row contains, through the levels below:
        `levels[0].encode(acts) @ mixing(level)`.

        `levels[level].encode(acts)` differs: it solves for that level alone. To find a level's
        contexts, call `describe(levels[level], acts, model, coefficients=…)`.

        Raises:
            InputError: there is no such level, or the activations are of another site or width, or
                not finite.
        """
        mixing = self.mixing(level)  # first, as it checks the level
        return self.levels[0].encode(acts) @ mixing

    def _repr_html_(self) -> str:
        parts = [
            "–",
            *(
                f"{float((own > 0).float().sum(dim=0).mean()):.1f} of level {level}"
                for level, own in enumerate(self.weights)
            ),
        ]
        densities = [
            f"{float((level.directions != 0).float().mean()):.1%}" for level in self.levels
        ]
        rows = list(zip(range(len(self.levels)), self.sizes, densities, parts, strict=True))
        header = ("level", "features", "neurons per direction", "made of, mean (weights above 0)")
        first = self.levels[0]
        about = f"{type(first).__name__}, seed {first.provenance.seed}"
        return block(
            "Hierarchy",
            table(header, rows, caption="From fine to broad"),
            name=first.site,
            about=about,
        )

    def save(self, folder: str | Path) -> None:
        """Write the hierarchy to a folder atomically; `load_hierarchy` reads it.

        Raises:
            InputError: the folder holds something other than a hierarchy.
            UnavailableError: the folder cannot be written.
        """
        from safetensors.torch import save_file

        with replacing_folder(Path(folder), DESCRIPTION) as temporary:
            for number, level in enumerate(self.levels):
                level.save(temporary / f"level{number}")
            save_file(
                {
                    str(number): own.detach().cpu().contiguous()
                    for number, own in enumerate(self.weights)
                },
                temporary / WEIGHTS,
            )
            write_json(temporary / DESCRIPTION, {"format": FORMAT, "sizes": list(self.sizes)})


def fit_hierarchy(
    acts: Activations | Float[Tensor, "row d"], fit: Fit, sizes: Sequence[int] = (400, 200, 100, 50)
) -> Hierarchy:
    """Factor activations into fine features, their directions into broader ones, and so on.

    Level 0 is `fit(acts, sizes[0])`; level l + 1 is `fit(levels[l].directions, sizes[l + 1])` with
    `weights[l]` its encoding of those directions. Every level keeps the method's constraints (for
    semi-NMF: coefficients ≥ 0, equal sparsity). The published joint fine-tuning is left out: it
    makes a third to three quarters of the coefficients negative.

    Args:
        acts: `[row, d]`.
        fit: a method with non-negative coefficients and no offset, with its settings.
        sizes: features of each level, falling.

    Raises:
        InputError: sizes do not fall, or the method gives negative coefficients or an offset.

    Source: Trigeorgis et al. 2014 (deep semi-NMF, without its fine-tuning); Shafran, Geiger & Geva
    2025 (arXiv 2506.10920). Cost: one fit of `acts`; later levels fit the few directions of the
    level before.

    Example:
        >>> hierarchy = fit_hierarchy(
        ...     acts, partial(fit_snmf, sparsity=0.01, seed=0), (400, 200, 100, 50)
        ... )
        >>> hierarchy.coefficients(acts, 3)
    """
    if not sizes or sizes[-1] < 1 or any(fine <= broad for fine, broad in pairwise(sizes)):
        raise InputError(
            f"sizes are {tuple(sizes)}; expected at least one number, each below the one before, "
            "as (400, 200, 100, 50)"
        )
    levels, weights = [fit(acts, sizes[0])], list[Tensor]()
    for number, size in enumerate(sizes[1:], start=1):
        below = levels[-1].directions
        level = fit(below, size)
        weights.append(level.encode(below))
        levels.append(_of_level(level, levels[0], number))
    if any(bool(level.offset.any()) for level in levels):
        raise InputError("the method has an offset, so levels do not multiply; use semi-NMF")
    return Hierarchy(tuple(levels), tuple(weights))


def _of_level(level: Dictionary, first: Dictionary, number: int) -> Dictionary:
    """The level with the provenance of the activations, not of the directions below."""
    own = level.provenance
    parameters = {**own.parameters, "level": number}
    return replace(
        level,
        provenance=first.provenance.derive(
            own.method, parameters=parameters, seed=own.seed, cost=own.cost
        ),
    )


def load_hierarchy(folder: str | Path) -> Hierarchy:
    """Read a hierarchy that `Hierarchy.save` wrote; runs no code from the files.

    Raises:
        UnavailableError: a file is missing or damaged, or the parts do not fit each other.

    Example:
        >>> load_hierarchy("hierarchy").sizes
    """
    from interp.decompose.storage import load_dictionary

    path = Path(folder)
    description = read_json(path / DESCRIPTION)
    if not isinstance(description, dict) or not isinstance(description.get("sizes"), list):
        raise UnavailableError(
            f"{path / DESCRIPTION} does not describe a hierarchy; save the hierarchy again"
        )
    count = len(description["sizes"])
    _, stored = read_tensors(path / WEIGHTS, "save the hierarchy again")
    try:
        weights = tuple(stored[str(number)] for number in range(count - 1))
    except KeyError as error:
        raise UnavailableError(
            f"{path / WEIGHTS} lacks weights {error}; save the hierarchy again"
        ) from error
    levels = tuple(load_dictionary(path / f"level{number}") for number in range(count))
    try:
        return Hierarchy(levels, weights)
    except InputError as error:
        raise UnavailableError(
            f"the parts of {path} do not fit each other: {error}; save the hierarchy again"
        ) from error
