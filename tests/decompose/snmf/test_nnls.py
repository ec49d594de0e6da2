import numpy as np
import scipy.optimize
import torch

from interp.decompose.snmf.nnls import hals_sweep, kkt_violation, solve_nnls


def problem(n_features=20, width=30, columns=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(n_features, width, generator=generator)
    rows = torch.randn(columns, width, generator=generator)
    return basis, rows


def test_the_solution_is_scipys():
    basis, rows = problem()
    ours = solve_nnls(basis @ rows.T, basis @ basis.T, tolerance=1e-6)
    theirs = np.stack(
        [scipy.optimize.nnls(basis.T.double().numpy(), row.double().numpy())[0] for row in rows],
        axis=1,
    )
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4)
    assert float(kkt_violation(ours, basis @ rows.T, basis @ basis.T).max()) < 1e-5


def test_the_violation_sees_a_coefficient_that_is_off():
    basis, rows = problem()
    target, gram = basis @ rows.T, basis @ basis.T
    moved = solve_nnls(target, gram)
    moved[3, 7] += 0.5
    violation = kkt_violation(moved, target, gram)
    assert float(violation[7]) > 0.1
    assert float(torch.cat([violation[:7], violation[8:]]).max()) < 1e-4


def test_a_sweep_never_increases_the_objective():
    basis, rows = problem(n_features=40)
    target, gram = basis @ rows.T, basis @ basis.T
    codes = torch.rand(40, 40, generator=torch.Generator().manual_seed(1))
    objective = [0.5 * (codes * (gram @ codes)).sum() - (codes * target).sum()]
    for _ in range(10):
        hals_sweep(codes, target, gram)
        objective.append(0.5 * (codes * (gram @ codes)).sum() - (codes * target).sum())
        assert float(objective[-1]) <= float(objective[-2]) + 1e-3
    assert float(objective[-1]) < float(objective[0])


def test_a_feature_without_extent_stays_at_its_value():
    gram, target, codes = (
        torch.diag(torch.tensor([1.0, 0.0])),
        torch.tensor([[2.0], [5.0]]),
        torch.tensor([[0.0], [3.0]]),
    )
    hals_sweep(codes, target, gram)
    assert codes.flatten().tolist() == [2.0, 3.0]


def test_directions_that_are_not_independent_are_solved_as_well():
    basis, rows = problem(n_features=20, width=12, columns=60)
    basis = torch.cat([basis, basis[:5], torch.zeros(1, 12)])
    rows[3] = 0
    ours = solve_nnls(basis @ rows.T, basis @ basis.T, tolerance=1e-6)
    errors = (rows - ours.T @ basis).norm(dim=1)
    theirs = [
        scipy.optimize.nnls(basis.T.double().numpy(), row.double().numpy())[1] for row in rows
    ]
    np.testing.assert_allclose(errors.numpy(), theirs, atol=1e-4)
    assert bool((ours >= 0).all())
    assert float(ours[:, 3].abs().max()) == 0


def test_what_pivoting_leaves_open_is_swept_to_the_end(monkeypatch):
    basis, rows = problem()
    target, gram = basis @ rows.T, basis @ basis.T
    pivoted = solve_nnls(target, gram, tolerance=1e-6)
    monkeypatch.setattr("interp.decompose.snmf.nnls.PIVOTS", 0)
    np.testing.assert_allclose(
        solve_nnls(target, gram, tolerance=1e-6).numpy(), pivoted.numpy(), atol=1e-4
    )


def test_a_start_changes_the_way_and_not_the_solution():
    basis, rows = problem()
    target, gram = basis @ rows.T, basis @ basis.T
    start = torch.rand(20, 40, generator=torch.Generator().manual_seed(5))
    before = start.clone()
    warm = solve_nnls(target, gram, start=start, tolerance=1e-6)
    np.testing.assert_allclose(
        warm.numpy(), solve_nnls(target, gram, tolerance=1e-6).numpy(), atol=1e-4
    )
    assert bool((start == before).all())
