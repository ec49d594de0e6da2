"""How well and how sparsely a dictionary reconstructs activations."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import Activations, InputError, Score, bootstrap_cases
from interp.core.display.markup import block, facts, numeral, table
from interp.core.display.scores import axis_note, score_cells
from interp.decompose.checks import column_mean, require_rows, row_chunks
from interp.decompose.dictionary import Dictionary

MAX_GROUPS = 1000


@dataclass(frozen=True)
class Reconstruction:
    """How a dictionary reconstructs some rows.

    `explained_variance` is a Score over inputs whose control permutes the coefficients over rows;
    `l0` the mean number of non-zero coefficients per row; `direction_density` the fraction of
    non-zero entries of the directions; `dead_fraction` the fraction of features with no non-zero
    coefficient.
    """

    explained_variance: Score
    l0: float
    direction_density: float
    dead_fraction: float

    def _repr_html_(self) -> str:
        score = self.explained_variance
        (cell,) = score_cells([score])
        others = [
            ("active per row", numeral(self.l0)),
            ("neurons per direction", f"{self.direction_density:.1%}"),
            ("never active", f"{self.dead_fraction:.1%} of features"),
        ]
        return block(
            "Reconstruction",
            table(
                ("", "score", "inputs"),
                [("variance explained", cell, score.n)],
                caption=axis_note([score]),
            ),
            facts(others),
        )


@torch.no_grad()
def reconstruction(
    dictionary: Dictionary,
    acts: Activations | Float[Tensor, "row d"],
    *,
    coefficients: Float[Tensor, "row feature"] | None = None,
    seed: int = 0,
) -> Reconstruction:
    """Measure a dictionary's reconstruction of some rows.

    `explained variance = 1 − Σ‖acts − decode(encode(acts))‖² / Σ‖acts − mean of acts‖²`,
    bootstrapped over inputs (without contexts: over runs of consecutive rows; at most 1,000
    groups). It is negative for a dictionary that does worse than the mean. `coefficients` of the
    rows, if known, save the encoding.

    Raises:
        InputError: the activations are of another site or width, empty, not finite, or all rows
            are equal.

    Cost: one encode and two decodes of the rows, in chunks; rows on disk are read four times.

    Example:
        >>> reconstruction(snmf, held_out_acts).explained_variance
    """
    values = require_rows(acts)
    dictionary.require_same_space(acts)
    given = None if coefficients is None else dictionary.encoded(acts, coefficients)
    mean = column_mean(values)
    errors, active = [], 0
    used = torch.zeros(len(dictionary), dtype=torch.bool, device=dictionary.directions.device)
    generator = torch.Generator().manual_seed(seed)
    for rows, chunk in row_chunks(values):
        # In chunks, so that the coefficients of rows on disk are never all in memory.
        own = dictionary.encode(chunk) if given is None else given[rows]
        active += int((own != 0).sum())
        used |= (own != 0).any(dim=0)
        others = own[torch.randperm(len(chunk), generator=generator).to(own.device)]
        chunk = chunk.to(dictionary.directions)
        parts = (
            chunk - dictionary.decode(own),
            chunk - dictionary.decode(others),
            chunk - mean.to(chunk),
        )
        errors.append(
            torch.stack([part.square().sum(dim=1, dtype=torch.float64) for part in parts]).cpu()
        )
    return Reconstruction(
        _explained(torch.cat(errors, dim=1).numpy(), _groups(acts), seed),
        active / len(values),
        float((dictionary.directions != 0).float().mean()),
        float((~used).float().mean()),
    )


def _groups(acts: Activations | Float[Tensor, "row d"]) -> Int[np.ndarray, " row"]:
    """Each row's resampling unit, numbered without gaps."""
    units = acts.contexts.item if isinstance(acts, Activations) else np.arange(len(acts))
    _, numbers = np.unique(units, return_inverse=True)
    count = int(numbers.max()) + 1
    return numbers * min(count, MAX_GROUPS) // count


def _explained(
    errors: Float[np.ndarray, "kind row"], groups: Int[np.ndarray, " row"], seed: int
) -> Score:
    residual, shuffled, total = [np.bincount(groups, weights=row) for row in errors]
    if total.sum() <= 0:
        raise InputError(
            "all rows are the same, so there is no variance to explain; give rows that differ"
        )

    def explained(drawn: Int[np.ndarray, "*draw group"]) -> np.ndarray:
        variance = np.maximum(total[drawn].sum(axis=-1), np.finfo(float).tiny)
        return np.asarray(1 - residual[drawn].sum(axis=-1) / variance)

    control = float(1 - shuffled.sum() / total.sum())
    return bootstrap_cases(len(residual), explained, seed=seed, control=control)
