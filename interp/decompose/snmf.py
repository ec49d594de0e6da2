"""Semi-NMF with winner-take-all sparsity: signed sparse directions, non-negative coefficients."""

import math
import time
import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, ConvergenceWarning, InputError, Progress, silent
from interp.core.names import require_known
from interp.decompose.alternation import Alternation, Schedule
from interp.decompose.checks import fitted_from, require_n_features, require_positive, require_rows, require_sparsity
from interp.decompose.dictionary import Dictionary, Method
from interp.decompose.nnls import solve_nnls
from interp.decompose.scaled import Scaled, massive_rows
from interp.decompose.starts import Init, first_coefficients

Solver = Literal["hals", "multiplicative"]

# Multiplicative updates cannot leave zero, so a k-means start is lifted off it (Ding, Li & Jordan 2010, section 3.2).
MULTIPLICATIVE_LIFT = 0.2
REFITS = 4
# On planted mixtures, a start with half as many features again that drops the least used ended at the noise level from 23 of 24 seeds;
# a start with the wanted number merged or split a feature from about half of them.
SURPLUS = 1.5
SAMPLE_ROWS = 4096
SAMPLE_PER_FEATURE = 40
FIRST_SWEEPS = 5
SETTLING = 20


@dataclass(frozen=True, eq=False)
class Snmf(Dictionary):
    """A semi-NMF: `acts ≈ coefficients @ directions` with coefficients ≥ 0 and few non-zero entries in every direction.

    `trace [iteration]` is the relative squared error `‖acts − coefficients @ directions‖² / ‖acts‖²` after every iteration's truncation,
    with massive rows at an ordinary norm; after HALS a last entry is the final refit's. `converged` says whether the tolerance was met.
    """

    trace: Float[Tensor, " iteration"]
    n_iterations: int
    converged: bool

    method: ClassVar[Method] = "snmf"

    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        return solve_nnls(self.directions @ values.T, self.directions @ self.directions.T).T.contiguous()


@torch.no_grad()
def fit_snmf(
    acts: Activations | Float[Tensor, "row d"],
    n_features: int,
    *,
    sparsity: float = 0.01,
    solver: Solver = "hals",
    init: Init = "kmeans",
    max_iterations: int = 500,
    tolerance: float = 1e-4,
    patience: int = 10,
    annealing: int = 30,
    seed: int = 0,
    progress: Progress = silent,
) -> Snmf:
    """Factor activations into features made of few neurons.

    `min ‖acts − coefficients @ directions‖²  s.t.  coefficients ≥ 0,  every direction has at most ceil(sparsity·d) non-zero entries`.

    Each iteration solves the directions by least squares and keeps every direction's largest entries (winner-take-all), then improves
    the coefficients: `solver="hals"` by a sweep of exact coordinate minimisation, `"multiplicative"` by the published update. With HALS
    there are `annealing` iterations on a sample of rows before, in which the kept entries shrink geometrically from d to their target
    while a surplus of half as many features again is dropped, the least used first; unused features restart from the worst explained
    rows; at the end coefficients and kept entries are refitted with the support held. The best iterate is returned. A row whose norm is
    far outside the others' (`provenance.parameters["massive_rows"]` counts them) enters at an ordinary norm.

    Args:
        acts: `[row, d]`, raw: no centring, no normalisation; any float type, on any device, read chunk by chunk.
        n_features: at most the number of rows.
        sparsity: fraction of the d entries that a direction keeps.
        solver: `"hals"`, or `"multiplicative"` for the published algorithm (no annealing, no restarts, no refit).
        init: first coefficients from k-means, uniform noise or singular vectors.
        max_iterations: of the alternation over all rows.
        tolerance: relative; the fit stops when `patience` iterations together improve the error by less than this fraction.
        annealing: iterations in which sparsity tightens (20 more at the target follow); 0 starts at the target, from `init` on all rows.

    Raises:
        InputError: an argument is out of range, or the activations are empty, not finite or all zero.

    Warns:
        ConvergenceWarning: `max_iterations` came before the tolerance was met.

    Sources: Ding, Li & Jordan 2010 (eq. 10-11); Shafran, Geiger & Geva 2025 (arXiv 2506.10920) for the winner-take-all; Gillis & Glineur
    2012 for HALS. Cost: `4·row·d·feature` FLOP and one read of `acts` an iteration; memory beyond `acts`: the coefficients `[row,
    feature]`.

    Example:
        >>> snmf = fit_snmf(acts, 100, sparsity=0.01, seed=0)
        >>> snmf.encode(acts) @ snmf.directions
    """
    values = require_rows(acts)
    _require_arguments(values, n_features, sparsity, solver, init, max_iterations, tolerance, patience, annealing)
    started = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    data = Scaled(values, *massive_rows(values))
    kept = math.ceil(sparsity * values.shape[1] - 1e-9)
    if solver == "hals" and annealing:
        first = _annealed(data, n_features, kept, init, annealing, generator, progress)
    else:
        first = first_coefficients(values, data.scale, n_features, init, generator)
        first += MULTIPLICATIVE_LIFT * (solver == "multiplicative" and init == "kmeans")
    run = Alternation(data, first, Schedule(values.shape[1], kept, n_features, n_features, 0), solver, generator)
    trace, converged = _alternate(run, max_iterations, tolerance, patience, progress)
    if not converged:
        warnings.warn(_unconverged(trace, max_iterations, tolerance, patience), ConvergenceWarning, stacklevel=2)
    iterations = len(trace)
    if solver == "hals":
        trace.append(run.refit(REFITS))
    parameters = {
        "n_features": n_features,
        "sparsity": sparsity,
        "kept_entries": kept,
        "solver": solver,
        "init": init,
        "max_iterations": max_iterations,
        "tolerance": tolerance,
        "patience": patience,
        "annealing": annealing if solver == "hals" else 0,
        "massive_rows": data.n_massive,
        "massive_above_norm": data.limit,
    }
    cost = {"seconds": time.perf_counter() - started, "iterations": float(iterations)}
    return Snmf(
        directions=run.best.directions,
        offset=torch.zeros_like(run.best.directions[0]),
        provenance=fitted_from(acts, "snmf", parameters, seed, cost),
        trace=torch.tensor(trace),
        n_iterations=iterations,
        converged=converged,
    )


def _require_arguments(
    values: Float[Tensor, "row d"],
    n_features: int,
    sparsity: float,
    solver: str,
    init: str,
    max_iterations: int,
    tolerance: float,
    patience: int,
    annealing: int,
) -> None:
    require_n_features(n_features, len(values), "the number of rows")
    require_sparsity(sparsity)
    require_known("solver", solver, ("hals", "multiplicative"))
    require_known("init", init, ("kmeans", "random", "svd"))
    require_positive({"max_iterations": max_iterations, "patience": patience})
    if tolerance < 0 or annealing < 0:
        raise InputError(f"tolerance is {tolerance} and annealing {annealing}; expected neither below 0")


def _annealed(
    data: Scaled, n_features: int, kept: int, init: Init, annealing: int, generator: torch.Generator, progress: Progress
) -> Float[Tensor, "row feature"]:
    """First coefficients of all rows, from directions that tightened on a sample of them."""
    sample = data.sample(max(SAMPLE_ROWS, SAMPLE_PER_FEATURE * n_features), generator)
    n_rows, width = sample.values.shape
    available = 2 * min(n_rows, width) if init == "svd" else n_rows
    started = max(n_features, min(math.ceil(SURPLUS * n_features), available))
    first = first_coefficients(sample.values, sample.scale, started, init, generator)
    run = Alternation(sample, first, Schedule(width, kept, started, n_features, annealing), "hals", generator)
    total = annealing + SETTLING
    for step in range(total):
        run.step()
        progress("semi-NMF annealing", step + 1, total, "iterations")
    return data.coefficients(run.best.directions, FIRST_SWEEPS)


def _alternate(run: Alternation, max_iterations: int, tolerance: float, patience: int, progress: Progress) -> tuple[list[float], bool]:
    trace: list[float] = []
    for iteration in range(max_iterations):
        trace.append(run.step())
        progress("semi-NMF", iteration + 1, max_iterations, "iterations")
        if len(trace) > patience and min(trace) >= min(trace[:-patience]) * (1 - tolerance):
            return trace, True
    return trace, False


def _unconverged(trace: list[float], max_iterations: int, tolerance: float, patience: int) -> str:
    return (
        f"semi-NMF stopped at max_iterations={max_iterations} with relative error {trace[-1]:.6g}; the last {patience} iterations still "
        f"improved it by more than tolerance={tolerance:g}; raise max_iterations or tolerance"
    )
