"""Non-negative least squares for many right-hand sides with one small Gram matrix: HALS sweeps,
then an exact finish.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK = 16
CHECK_EVERY = 8
FIRST_SWEEPS = 12
WARM_SWEEPS = 4
PIVOTS = 8
CG_ITERATIONS = 200
CG_SHARE = 0.3
FLAT = 1e-7


def hals_sweep(
    coefficients: Float[Tensor, "feature column"],
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
) -> None:
    """One sweep of exact coordinate minimisation over the features of every column, in place.

    Minimises `½ yᵀ gram y − yᵀ target` over `y ≥ 0` one feature at a time (Cichocki & Phan 2009,
    eq. 22; Gillis & Glineur 2012); features with a zero Gram diagonal stay. Cost:
    `2·feature²·column` FLOP, in blocks so that most of it is one matrix product.
    """
    curvature = gram.diagonal().tolist()
    for start in range(0, len(gram), BLOCK):
        block = slice(start, min(start + BLOCK, len(gram)))
        slope = torch.addmm(target[block], gram[block], coefficients, alpha=-1)
        for row, feature in enumerate(range(block.start, block.stop)):
            if curvature[feature] <= 0:
                continue
            updated = torch.add(
                coefficients[feature], slope[row], alpha=1 / curvature[feature]
            ).clamp_(min=0)
            # Only the slopes of the block's later features are still needed.
            slope[row + 1 :].addr_(
                gram[feature + 1 : block.stop, feature], updated - coefficients[feature], alpha=-1
            )
            coefficients[feature] = updated


def kkt_violation(
    coefficients: Float[Tensor, "feature column"],
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
) -> Float[Tensor, " column"]:
    """How far each column is from its solution, relative to its largest target.

    The largest entry of `y − max(0, y − (gram y − target))`, which vanishes exactly where the
    Karush-Kuhn-Tucker conditions are met.
    """
    stepped = torch.addmm(coefficients + target, gram, coefficients, alpha=-1).clamp_(min=0)
    scale = target.abs().amax(dim=0)
    return (coefficients - stepped).abs_().amax(dim=0) / scale.clamp(
        min=torch.finfo(scale.dtype).tiny
    )


def solve_nnls(
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
    *,
    start: Float[Tensor, "feature column"] | None = None,
    tolerance: float = 1e-5,
    max_sweeps: int = 200,
) -> Float[Tensor, "feature column"]:
    """`argmin over y ≥ 0 of ½ yᵀ gram y − yᵀ target` for every column, from zero or `start`, to a
    relative KKT violation of `tolerance`.

    Sweeps find nearly all of each column's support; conjugate gradients solve on it, and entries
    that violate a sign condition change sides (block principal pivoting, Portugal, Júdice & Vicente
    1994), a few times. Pivoting can cycle, so unsolved columns are swept further, and those left
    (nearly dependent directions) are solved by an active-set method.
    """
    solution = torch.zeros_like(target) if start is None else start.clone()
    for _ in range(FIRST_SWEEPS if start is None else WARM_SWEEPS):
        hals_sweep(solution, target, gram)
    left = _pivot(solution, target, gram, tolerance)
    left = _sweep_on(solution, target, gram, left, tolerance, max_sweeps)
    if len(left):
        solution[:, left] = _active_set(target[:, left], gram)
    return solution


def _pivot(
    solution: Float[Tensor, "feature column"],
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
    tolerance: float,
) -> Int[Tensor, " open"]:
    """Solve columns in place from their current support; the indices of those left unsolved."""
    columns = torch.arange(target.shape[1], device=target.device)
    goal, trial, support = target, solution, solution > 0
    for _ in range(PIVOTS):
        limit = tolerance * goal.abs().amax(dim=0)
        trial = _conjugate_gradients(trial, support, goal, gram, CG_SHARE * limit)
        slope = torch.addmm(goal, gram, trial, alpha=-1)
        wrong = torch.where(support, trial < 0, slope > limit)
        feasible = trial.clamp(min=0)
        unsolved = ~(kkt_violation(feasible, goal, gram) <= tolerance)
        solution[:, columns[~unsolved]] = feasible[:, ~unsolved]
        columns, goal, trial, support = (
            columns[unsolved],
            goal[:, unsolved],
            trial[:, unsolved],
            (support ^ wrong)[:, unsolved],
        )
        if not len(columns):
            break
    return columns


def _conjugate_gradients(
    start: Float[Tensor, "feature column"],
    support: Bool[Tensor, "feature column"],
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
    limit: Float[Tensor, " column"],
) -> Float[Tensor, "feature column"]:
    """Each column's unconstrained solution on its support, to a largest residual of `limit`
    (Hestenes & Stiefel 1952).
    """
    mask = support.to(target.dtype)
    solution = start * mask
    residual = torch.addmm(target, gram, solution, alpha=-1) * mask
    step, energy = residual.clone(), residual.square().sum(dim=0)
    tiny = torch.finfo(target.dtype).tiny
    for iteration in range(1, CG_ITERATIONS + 1):
        image = (gram @ step) * mask
        curvature = (step * image).sum(dim=0)
        # A step in the null space of the Gram matrix (dependent directions) gains nothing.
        seen = curvature > FLAT * step.square().sum(dim=0)
        length = torch.where(seen, energy / curvature.clamp(min=tiny), 0.0)
        solution.addcmul_(step, length)
        residual.addcmul_(image, length, value=-1)
        if iteration % CHECK_EVERY == 0 and bool(
            ((residual.abs().amax(dim=0) <= limit) | ~seen).all()
        ):
            break
        before, energy = energy, residual.square().sum(dim=0)
        step = torch.addcmul(residual, step, energy / before.clamp(min=tiny))
    return solution


def _sweep_on(
    solution: Float[Tensor, "feature column"],
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
    columns: Int[Tensor, " open"],
    tolerance: float,
    max_sweeps: int,
) -> Int[Tensor, " unsolved"]:
    """Sweep columns further, in place, dropping solved ones on the way; the indices of the rest."""
    working, goal = solution[:, columns], target[:, columns]
    for sweep in range(1, max_sweeps + 1):
        hals_sweep(working, goal, gram)
        if sweep % CHECK_EVERY and sweep < max_sweeps:
            continue
        unsolved = kkt_violation(working, goal, gram) > tolerance
        solution[:, columns] = working
        columns, working, goal = columns[unsolved], working[:, unsolved], goal[:, unsolved]
        if not len(columns):
            break
    return columns


def _active_set(
    target: Float[Tensor, "feature column"], gram: Float[Tensor, "feature feature"]
) -> Float[Tensor, "feature column"]:
    """Column by column in float64 (Lawson & Hanson 1974, scipy): slow, but correct for dependent
    directions.
    """
    from scipy.optimize import nnls

    values, vectors = torch.linalg.eigh(gram.double().cpu())
    kept = values > len(gram) * torch.finfo(gram.dtype).eps * values[-1]
    root = values[kept].sqrt()
    factor = (root[:, None] * vectors[:, kept].T).numpy()
    goals = (vectors[:, kept].T @ target.double().cpu() / root[:, None]).T.numpy()
    found = [torch.from_numpy(nnls(factor, goal)[0]) for goal in goals]
    return torch.stack(found, dim=1).to(target)
