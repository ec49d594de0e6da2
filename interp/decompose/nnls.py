"""Non-negative least squares for many right-hand sides that share one small Gram matrix, by HALS sweeps."""

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 16
CHECK_EVERY = 8


def hals_sweep(
    coefficients: Float[Tensor, "feature column"], target: Float[Tensor, "feature column"], gram: Float[Tensor, "feature feature"]
) -> None:
    """One sweep of exact coordinate minimisation over the features of every column, in place.

    Minimises `½ yᵀ gram y − yᵀ target` over `y ≥ 0` one feature at a time (Cichocki & Phan 2009, eq. 22; Gillis & Glineur 2012). A
    feature whose Gram diagonal is zero is left as it is. Cost: `2·feature²·column` FLOP; features go in blocks so that most of it is one
    matrix product.
    """
    curvature = gram.diagonal().tolist()
    for start in range(0, len(gram), BLOCK):
        block = slice(start, min(start + BLOCK, len(gram)))
        slope = torch.addmm(target[block], gram[block], coefficients, alpha=-1)
        for row, feature in enumerate(range(block.start, block.stop)):
            if curvature[feature] <= 0:
                continue
            updated = torch.add(coefficients[feature], slope[row], alpha=1 / curvature[feature]).clamp_(min=0)
            slope.addr_(gram[block, feature], updated - coefficients[feature], alpha=-1)
            coefficients[feature] = updated


def kkt_violation(
    coefficients: Float[Tensor, "feature column"], target: Float[Tensor, "feature column"], gram: Float[Tensor, "feature feature"]
) -> Float[Tensor, " column"]:
    """How far each column is from solving its non-negative least squares, relative to its largest target; 0 at the solution.

    The largest entry of `y − max(0, y − (gram y − target))`, which vanishes exactly where the Karush-Kuhn-Tucker conditions hold.
    """
    stepped = torch.addmm(coefficients + target, gram, coefficients, alpha=-1).clamp_(min=0)
    scale = target.abs().amax(dim=0)
    return (coefficients - stepped).abs_().amax(dim=0) / scale.clamp(min=torch.finfo(scale.dtype).tiny)


def solve_nnls(
    target: Float[Tensor, "feature column"],
    gram: Float[Tensor, "feature feature"],
    *,
    tolerance: float = 1e-5,
    max_sweeps: int = 2000,
) -> Float[Tensor, "feature column"]:
    """`argmin over y ≥ 0 of ½ yᵀ gram y − yᵀ target` for every column, from zero, to a relative KKT violation of `tolerance`.

    Columns that are solved leave the sweep, so the cost follows the hard ones.
    """
    solution = torch.zeros_like(target)
    open_columns = torch.arange(target.shape[1], device=target.device)
    working, goal = solution.clone(), target
    for sweep in range(1, max_sweeps + 1):
        hals_sweep(working, goal, gram)
        if sweep % CHECK_EVERY and sweep < max_sweeps:
            continue
        unsolved = kkt_violation(working, goal, gram) > tolerance
        solution[:, open_columns] = working
        if not bool(unsolved.any()):
            break
        open_columns, working, goal = open_columns[unsolved], working[:, unsolved], goal[:, unsolved]
    return solution
