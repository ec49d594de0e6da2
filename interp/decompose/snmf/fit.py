"""Semi-NMF with winner-take-all sparsity: signed sparse directions, non-negative coefficients."""

import math
import time
import warnings
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, ConvergenceWarning, InputError, Progress, silent
from interp.decompose.checks import fitted_from, require_n_features, require_rows, require_sparsity
from interp.decompose.dictionary import Dictionary, Method
from interp.decompose.snmf.nnls import solve_nnls
from interp.decompose.snmf.one_fit import DirectionStep, Fitted, Problem, Settings, Solver, one_fit
from interp.decompose.snmf.scaled import Scaled, massive_rows
from interp.decompose.snmf.starts import Init
from interp.decompose.storage import stored


@stored
@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Snmf(Dictionary):
    """A semi-NMF: `acts ≈ coefficients @ directions` with coefficients ≥ 0 and sparse directions.

    `trace [iteration]` is the relative squared error
    `‖acts − coefficients @ directions‖² / ‖acts‖²` after each iteration over all rows, with massive
    rows at an ordinary norm (with a `penalty` on coefficients: the penalised objective); after HALS
    the last entry is the final refit's, equal to that of `encode`. `converged` says whether the
    tolerance was met.
    """

    trace: Float[Tensor, " iteration"]
    n_iterations: int
    converged: bool
    penalty: float = 0.0

    method: ClassVar[Method] = "snmf"

    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        return solve_nnls(
            self.directions @ values.T - self.penalty, self.directions @ self.directions.T
        ).T.contiguous()


@torch.no_grad()
def fit_snmf(
    acts: Activations | Float[Tensor, "row d"],
    n_features: int,
    *,
    sparsity: float = 0.01,
    coefficient_sparsity: float = 0.0,
    solver: Solver = "hals",
    direction_step: DirectionStep = "least_squares",
    init: Init = "kmeans",
    start: Float[Tensor, "feature start_d"] | None = None,
    max_iterations: int = 500,
    tolerance: float = 1e-4,
    patience: int = 10,
    annealing: int = 20,
    restarts: int = 1,
    seed: int = 0,
    progress: Progress = silent,
) -> Snmf:
    """Factor activations into features made of few neurons.

    `min ‖acts − coefficients @ directions‖²  s.t.  coefficients ≥ 0`, with at most
    `ceil(sparsity·d)` non-zero entries per direction.

    Each iteration solves the directions by least squares and keeps their largest entries
    (winner-take-all), then improves the coefficients: with `solver="hals"` by two sweeps of exact
    coordinate minimisation, with `"multiplicative"` by the published update. HALS first anneals on
    a sample of rows: the kept entries shrink geometrically from d to their target, and a surplus of
    50 % more features is dropped, those first that the others replace best. Unused features restart
    from the worst explained rows. At the end HALS solves coefficients exactly, descends on the
    directions, and solves again.

    `direction_step="descent"` replaces least squares and winner-take-all, after annealing, by exact
    minimisation over one direction after another: no iteration increases the error, and the fit
    ends lower where truncation costs much. Lower is not better at concepts: on SmolLM2-135M's
    L5.mlp it ended 1 % lower, and single features detected fewer concepts.

    The best iterate of the best of `restarts` fits is returned; `provenance.parameters` has every
    restart's error and the winner. Rows with norms far above the others' (counted there as
    `massive_rows`) enter at an ordinary norm.

    Args:
        acts: `[row, d]`, raw (not centred or normalised), of any float type and device; read in
            chunks.
        n_features: at most the number of rows; may exceed d.
        sparsity: fraction of the d entries that a direction keeps.
        coefficient_sparsity: cost of a unit of coefficient, as a share of the rows' median norm:
            the objective becomes `‖acts − coefficients @ directions‖² + 2·penalty·Σ coefficients`
            with unit directions, also in `encode`. 0 is the published problem, which on MLP
            activations leaves most features active on every row.
        solver: `"hals"`, or `"multiplicative"` for the published algorithm (no annealing or refit).
        direction_step: after annealing; HALS only.
        init: first coefficients from k-means, uniform noise or singular vectors.
        start: directions `[feature, d]` to start from instead of `init` and annealing, such as
            those of a neighbouring checkpoint. HALS only.
        max_iterations: of the alternation over all rows.
        tolerance: stop when `patience` iterations together improve the error by less than this
            fraction.
        annealing: iterations in which sparsity tightens (8 more at the target follow); 0 starts at
            the target, from `init` on all rows.
        restarts: number of fits, the first with `seed`; the smallest error wins.

    Raises:
        InputError: an argument is out of range, `start` does not fit, or the activations are empty,
            not finite or all zero.

    Warns:
        ConvergenceWarning: the tolerance was not met within `max_iterations`.

    Sources: Ding, Li & Jordan 2010 (eq. 10-11); Shafran, Geiger & Geva 2025 (arXiv 2506.10920) for
    winner-take-all; Gillis & Glineur 2012 for HALS; Blumensath & Davies 2009 for descent under a
    limit on non-zero entries. Cost: `4·row·d·feature` FLOP and one read of `acts` per iteration and
    restart; memory beyond `acts`: the coefficients `[row, feature]`.

    Example:
        >>> snmf = fit_snmf(acts, 100, sparsity=0.01, seed=0)
        >>> snmf.encode(acts) @ snmf.directions
    """
    values = require_rows(acts)
    require_n_features(n_features, len(values), "the number of rows")
    require_sparsity(sparsity)
    settings = Settings(
        n_features=n_features,
        sparsity=sparsity,
        kept_entries=math.ceil(sparsity * values.shape[1] - 1e-9),
        coefficient_sparsity=coefficient_sparsity,
        solver=solver,
        direction_step=direction_step,
        init=init,
        max_iterations=max_iterations,
        tolerance=tolerance,
        patience=patience,
        annealing=annealing,
        restarts=restarts,
    )
    if solver == "multiplicative":
        settings = replace(settings, direction_step="least_squares", annealing=0)
    if start is not None:
        _require_start(start, (n_features, values.shape[1]), solver)
        settings = replace(settings, annealing=0)
    started = time.perf_counter()
    problem = _problem(values, coefficient_sparsity, start)
    fits = [
        one_fit(problem, settings, _restart_seed(seed, restart), progress)
        for restart in range(restarts)
    ]
    errors = [min(fit.trace) for fit in fits]
    winner = errors.index(min(errors))
    best = fits[winner]
    if not best.converged:
        warnings.warn(_unconverged(best, settings), ConvergenceWarning, stacklevel=2)
    parameters = asdict(settings) | {
        "init": init if start is None else "start",
        "restart_errors": errors,
        "best_restart": winner,
        "massive_rows": problem.data.n_massive,
        "massive_above_norm": problem.data.limit,
    }
    cost = {"seconds": time.perf_counter() - started, "iterations": float(best.n_iterations)}
    return Snmf(
        directions=best.directions,
        offset=torch.zeros_like(best.directions[0]),
        provenance=fitted_from(acts, "snmf", parameters, seed, cost),
        trace=torch.tensor(best.trace),
        n_iterations=best.n_iterations,
        converged=best.converged,
        penalty=problem.penalty,
    )


def _problem(
    values: Float[Tensor, "row d"],
    coefficient_sparsity: float,
    start: Float[Tensor, "feature d"] | None,
) -> Problem:
    data = Scaled(values, *massive_rows(values))
    penalty = 0.0
    if coefficient_sparsity:
        penalty = coefficient_sparsity * float(data.squared_norms().median().sqrt())
    return Problem(data, penalty, None if start is None else start.detach().to(data.scale))


def _require_start(start: Tensor, shape: tuple[int, int], solver: Solver) -> None:
    if tuple(start.shape) != shape:
        raise InputError(
            f"start is {tuple(start.shape)}; expected {shape}, a direction for every feature, of "
            "the same site"
        )
    if solver == "multiplicative":
        raise InputError(
            "the published algorithm starts from coefficients; use solver='hals' or no start"
        )


def _restart_seed(seed: int, restart: int) -> int:
    """The seed itself first, so that more restarts can only improve on one."""
    if restart == 0:
        return seed
    return int(np.random.SeedSequence([seed, restart]).generate_state(1)[0])


def _unconverged(fitted: Fitted, settings: Settings) -> str:
    return (
        f"semi-NMF stopped at max_iterations={settings.max_iterations} with relative error "
        f"{min(fitted.trace):.6g}; the last {settings.patience} iterations still improved it by "
        f"more than tolerance={settings.tolerance:g}; raise max_iterations or tolerance"
    )
