import itertools
import math

import planted
import pytest
import torch

from interp.core import ConvergenceWarning, InputError
from interp.decompose import fit_snmf, match_directions
from interp.decompose.snmf.alternation import (
    Alternation,
    Schedule,
    multiplicative_update,
    truncated_descent,
    winners,
)
from interp.decompose.snmf.scaled import Scaled, massive_rows


@pytest.fixture(scope="module")
def small():
    return planted.mixture(0, n_rows=600, width=64, n_features=8, support=6)


def test_planted_factors_are_recovered_and_a_random_start_without_sparsity_does_not():
    cosines, controls = [], []
    for seed in range(5):
        acts, truth = planted.mixture(seed)
        cosines.append(
            match_directions(
                fit_snmf(acts, 20, sparsity=0.05, seed=seed).directions, truth
            ).mean_cosine
        )
        if seed == 0:
            dense = fit_snmf(
                acts,
                20,
                sparsity=1.0,
                init="svd",
                annealing=0,
                max_iterations=60,
                tolerance=1e-2,
                seed=seed,
            )
            controls.append(match_directions(dense.directions, truth).mean_cosine)
    assert sum(cosine >= 0.95 for cosine in cosines) >= 4, cosines
    assert max(controls) < 0.9, controls


@pytest.mark.parametrize("seed", [0, 2])
def test_correlated_features_are_recovered_under_noise_when_more_are_asked_for_than_there_are(seed):
    acts, truth = planted.mixture(seed, correlated=True, noise=0.1)
    assert (
        match_directions(fit_snmf(acts, 30, sparsity=0.05, seed=seed).directions, truth).mean_cosine
        >= 0.97
    )


def test_every_direction_keeps_its_share_of_entries_and_no_coefficient_is_negative(small):
    acts, _ = small
    for sparsity in (0.02, 0.1, 1.0):
        snmf = fit_snmf(acts, 8, sparsity=sparsity)
        counts = (snmf.directions != 0).sum(dim=1)
        assert int(counts.max()) <= math.ceil(sparsity * 64)
        assert int(counts.max()) == snmf.provenance.parameters["kept_entries"]
        assert float(snmf.encode(acts).min()) >= 0


def test_encode_solves_the_non_negative_least_squares(small):
    acts, _ = small
    snmf = fit_snmf(acts, 8, sparsity=0.1)
    for rows in (acts, torch.randn(50, 64, generator=torch.Generator().manual_seed(3))):
        codes = snmf.encode(rows)
        slope = (codes @ snmf.directions - rows) @ snmf.directions.T
        scale = (rows @ snmf.directions.T).abs().amax(dim=1, keepdim=True)
        assert float((slope / scale).min()) > -1e-4
        assert float((slope * (codes > 0) / scale).abs().max()) < 1e-4


def test_the_last_error_is_that_of_encode_and_the_smallest(small):
    acts, _ = small
    snmf = fit_snmf(acts, 8, sparsity=0.1)
    error = (acts - snmf.decode(snmf.encode(acts))).square().sum() / acts.square().sum()
    assert float(error) == pytest.approx(float(snmf.trace[-1]), rel=1e-3)
    assert float(snmf.trace[-1]) == float(snmf.trace.min())
    assert len(snmf.trace) == snmf.n_iterations + 1


def test_a_row_is_encoded_the_same_whatever_its_company(small):
    acts, _ = small
    snmf = fit_snmf(acts, 8, sparsity=0.1)
    torch.testing.assert_close(
        snmf.encode(acts[17:19]), snmf.encode(acts)[17:19], rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("solver", ["hals", "multiplicative"])
def test_scaling_the_activations_changes_nothing_but_the_scale(small, solver):
    acts, _ = small
    # A power of two near 1e-4 only moves the exponent, so that every rounding is the same.
    one, other = (
        fit_snmf(rows, 8, sparsity=0.1, solver=solver, tolerance=1e-2, max_iterations=200)
        for rows in (acts, acts * 2.0**-13)
    )
    assert one.n_iterations == other.n_iterations
    torch.testing.assert_close(one.directions, other.directions)
    torch.testing.assert_close(one.encode(acts) * 2.0**-13, other.encode(acts * 2.0**-13))


def test_a_massive_row_does_not_spoil_the_others(small):
    acts, _ = small
    spoilt = acts.clone()
    spoilt[5] = 1000 * acts[5].roll(7)
    others = torch.arange(len(acts)) != 5

    def error(rows):
        snmf = fit_snmf(rows, 8, sparsity=0.1)
        kept = acts[others]
        return float(
            (kept - snmf.decode(snmf.encode(kept))).square().sum() / kept.square().sum()
        ), snmf

    (clean, plain), (spoilt_error, robust) = error(acts), error(spoilt)
    assert spoilt_error < clean * 1.2 + 0.005
    assert (
        plain.provenance.parameters["massive_rows"],
        robust.provenance.parameters["massive_rows"],
    ) == (0, 1)


def test_massive_rows_are_those_far_from_the_others_even_when_most_are_zero():
    rows = torch.zeros(100, 4)
    rows[:30, 0] = torch.linspace(1, 3, 30)
    scale, limit = massive_rows(rows)
    assert bool((scale == 1).all())
    rows[40, 1] = limit * 50
    scale, _ = massive_rows(rows)
    assert torch.nonzero(scale != 1).flatten().tolist() == [40]
    assert float(rows[40].norm() * scale[40]) < 5


@pytest.mark.parametrize("init", ["kmeans", "random", "svd"])
@pytest.mark.parametrize("solver", ["hals", "multiplicative"])
def test_every_solver_from_every_start_comes_near_the_noise(small, solver, init):
    acts, truth = small
    snmf = fit_snmf(acts, 8, sparsity=0.1, solver=solver, init=init, max_iterations=2000)
    mean = fit_snmf(acts, 1, sparsity=1.0)
    assert float(snmf.trace.min()) < 0.3 < float(mean.trace[-1])
    assert match_directions(snmf.directions, truth).mean_cosine > 0.75


def test_a_descent_finds_the_planted_factors_too_and_says_so(small):
    acts, truth = small
    snmf = fit_snmf(acts, 8, sparsity=0.1, direction_step="descent")
    assert snmf.provenance.parameters["direction_step"] == "descent"
    assert match_directions(snmf.directions, truth).mean_cosine > 0.95


def test_hals_ends_no_higher_than_the_published_algorithm():
    acts, _ = planted.mixture(3, n_rows=1000, width=128, n_features=12, support=6)
    ours = fit_snmf(acts, 12, sparsity=0.05)
    published = fit_snmf(
        acts, 12, sparsity=0.05, solver="multiplicative", init="random", max_iterations=1000
    )
    assert float(ours.trace[-1]) <= float(published.trace.min()) * 1.001
    assert ours.n_iterations < published.n_iterations


def test_the_multiplicative_update_never_increases_the_error_at_fixed_directions():
    truth = planted.directions(6, 30, 10, 0)
    acts = planted.coefficients(200, 6, 1, active=0.5) @ truth + 0.1 * torch.randn(
        200, 30, generator=torch.Generator().manual_seed(2)
    )
    codes, gram, target = (
        torch.rand(6, 200, generator=torch.Generator().manual_seed(3)),
        truth @ truth.T,
        truth @ acts.T,
    )
    errors = []
    for _ in range(50):
        errors.append(float((acts - codes.T @ truth).square().sum()))
        multiplicative_update(codes, target, gram)
    assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(errors))
    assert errors[-1] < 0.5 * errors[0]


def sums(acts, codes):
    return codes.T @ acts, codes.T @ codes


def test_a_truncated_descent_never_increases_the_error_and_truncated_least_squares_does():
    truth = planted.directions(12, 40, 20, 0)
    codes = planted.coefficients(300, 12, 1, active=0.6, correlated=True)
    acts = planted.noisy(codes @ truth, 0.3, 2)
    cross, gram = sums(acts, codes)

    def error(moved):
        assert int((moved != 0).sum(dim=1).max()) <= 3
        return float((acts - codes @ moved).square().sum())

    moved = winners(truth.roll(5, 1), 3)
    errors = [error(moved)]
    for _ in range(6):
        moved = truncated_descent(moved, cross, gram, 3, 1)
        errors.append(error(moved))
    assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(errors))
    least_squares = error(winners(torch.linalg.solve(gram, cross), 3))
    assert errors[-1] < 0.95 * least_squares < errors[0]


def test_a_descent_without_a_limit_is_least_squares_and_an_unused_feature_vanishes():
    codes = planted.coefficients(200, 5, 1, active=0.5)
    codes[:, 2] = 0
    acts = planted.noisy(codes @ planted.directions(5, 20, 6, 0), 0.1, 2)
    used = torch.tensor([0, 1, 3, 4])
    moved = truncated_descent(torch.ones(5, 20), *sums(acts, codes), 20, 100)
    torch.testing.assert_close(
        moved[used], torch.linalg.lstsq(codes[:, used], acts).solution, atol=1e-4, rtol=1e-3
    )
    assert float(moved[2].abs().max()) == 0


def test_the_error_never_rises_in_a_descent_and_that_of_the_published_algorithm_does():
    acts, _ = planted.mixture(
        1, n_rows=600, width=64, n_features=20, support=64, noise=0.2, correlated=True
    )
    trace = fit_snmf(acts, 12, sparsity=0.05, direction_step="descent").trace
    assert bool((trace[1:] <= trace[:-1] * (1 + 1e-5)).all())
    assert float(trace[-1]) < float(trace[0])
    published = fit_snmf(acts, 12, sparsity=0.05, solver="multiplicative", tolerance=1e-2).trace
    assert float((published[1:] / published[:-1]).max()) > 1.005
    assert float(trace[-1]) < 0.9 * float(published.min())


def test_the_feature_that_goes_is_one_of_two_that_share_a_role_and_not_the_smallest():
    truth, codes = planted.directions(4, 30, 5, 0), planted.coefficients(400, 4, 1, active=0.5)
    codes[:, 3] *= 0.3
    acts = codes @ truth
    share = torch.rand(400, generator=torch.Generator().manual_seed(2)) < 0.5
    shared = torch.stack([codes[:, 0] * share, codes[:, 0] * ~share], dim=1)
    together = torch.cat([codes, shared], dim=1)[:, 1:] + 0.01 * torch.rand(
        400, 5, generator=torch.Generator().manual_seed(3)
    )
    together = torch.cat([together, together[:, 3:4] * 0.9 + together[:, 4:5] * 0.9], dim=1)
    data = Scaled(acts, torch.ones(400), 1.0)
    run = Alternation(
        data,
        [together.T.contiguous()],
        Schedule(
            width=30, kept=30, n_started=6, n_features=5, steps=0, least_squares_steps=9, sweeps=1
        ),
        solver="hals",
        generator=torch.Generator(),
    )
    run._prune(torch.cat([truth[1:], truth[:1], truth[:1], truth[:1]]), 5)
    left = run.coefficients[0]
    energies = together.square().sum(dim=0)
    assert int(energies.argmin()) == 2
    assert left.shape == (5, 400)
    torch.testing.assert_close(left[:3], together.T[:3])


def test_more_restarts_never_end_higher_and_the_winner_is_named():
    acts, _ = planted.mixture(
        2, n_rows=500, width=64, n_features=20, support=4, noise=0.3, correlated=True
    )
    one, three = (
        fit_snmf(acts, 12, sparsity=0.06, annealing=2, restarts=restarts) for restarts in (1, 3)
    )
    parameters = three.provenance.parameters
    assert len(set(parameters["restart_errors"])) == 3
    assert parameters["restart_errors"][0] == float(one.provenance.parameters["restart_errors"][0])
    assert parameters["restart_errors"][parameters["best_restart"]] == min(
        parameters["restart_errors"]
    )
    assert float(three.trace[-1]) == pytest.approx(min(parameters["restart_errors"]))
    again = fit_snmf(acts, 12, sparsity=0.06, annealing=2, restarts=3)
    assert bool((again.directions == three.directions).all())


def test_empty_rows_and_columns_that_never_change_are_harmless(small):
    acts, _ = small
    odd = torch.cat([acts, torch.full((len(acts), 1), 0.5), torch.zeros(len(acts), 1)], dim=1)
    odd = torch.cat([odd, torch.zeros(200, 66)])
    snmf = fit_snmf(odd, 9, sparsity=0.1)
    codes = snmf.encode(odd)
    assert bool(torch.isfinite(snmf.directions).all())
    assert float(codes[-200:].abs().max()) == 0
    assert float(snmf.directions[:, 65].abs().max()) == 0
    rest = (odd[:600] - codes[:600] @ snmf.directions).square().sum() / odd.square().sum()
    assert float(rest) < 0.05


def test_there_may_be_more_features_than_neurons():
    acts, truth = planted.mixture(0, n_rows=100, width=16, n_features=8, support=2, noise=0.05)
    snmf = fit_snmf(acts, 24, sparsity=0.125)
    assert snmf.directions.shape == (24, 16)
    assert float(snmf.trace[-1]) < 0.01
    assert match_directions(snmf.directions, truth).mean_cosine > 0.9


def test_unused_features_start_again():
    truth = planted.directions(4, 40, 4, 0)
    acts = planted.noisy(planted.coefficients(300, 4, 1) @ truth, 0.01, 2)
    snmf = fit_snmf(acts, 12, sparsity=0.1)
    assert float(snmf.trace[-1]) < 1e-3
    assert match_directions(snmf.directions, truth).mean_cosine > 0.99
    assert int((snmf.encode(acts) > 0).any(dim=0).sum()) == 12


def test_fewer_different_rows_than_features_still_give_unit_directions():
    acts = torch.zeros(20, 16)
    acts[:10, 3], acts[10:, 4] = 1.0, 2.0
    snmf = fit_snmf(acts, 5, sparsity=0.2)
    torch.testing.assert_close(snmf.directions.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(snmf.decode(snmf.encode(acts)), acts, atol=1e-3, rtol=1e-3)


def test_stopping_early_warns_with_the_numbers_and_finishing_does_not(small):
    acts, _ = small
    with pytest.warns(ConvergenceWarning, match=r"max_iterations=5 .*tolerance=1e-09"):
        stopped = fit_snmf(acts, 8, sparsity=0.1, max_iterations=5, tolerance=1e-9)
    assert (stopped.converged, stopped.n_iterations) == (False, 5)
    assert fit_snmf(acts, 8, sparsity=0.1).converged


def test_bfloat16_comes_close_to_float32(small):
    acts, _ = small
    snmf = fit_snmf(acts.to(torch.bfloat16), 8, sparsity=0.1)
    assert snmf.directions.dtype == torch.float32
    assert (
        match_directions(snmf.directions, fit_snmf(acts, 8, sparsity=0.1).directions).mean_cosine
        > 0.95
    )


def test_tightening_on_a_sample_of_the_rows_is_enough(monkeypatch):
    acts, truth = planted.mixture(4, n_rows=3000, width=96, n_features=10, support=5)
    monkeypatch.setattr("interp.decompose.snmf.one_fit.SAMPLE_ROWS", 600)
    monkeypatch.setattr("interp.decompose.snmf.one_fit.SAMPLE_PER_FEATURE", 1)
    assert match_directions(fit_snmf(acts, 10, sparsity=0.05).directions, truth).mean_cosine > 0.99


def test_entries_and_surplus_features_shrink_to_their_targets():
    schedule = Schedule(
        width=200, kept=2, n_started=15, n_features=10, steps=10, least_squares_steps=12, sweeps=1
    )
    supports = [schedule.support(step) for step in range(13)]
    features = [schedule.features(step) for step in range(13)]
    assert (supports[0], supports[10:]) == (200, [2, 2, 2])
    assert (features[:6], features[10:]) == ([15] * 6, [10, 10, 10])
    assert supports == sorted(supports, reverse=True)
    assert features == sorted(features, reverse=True)
    assert (
        Schedule(
            width=200, kept=2, n_started=10, n_features=10, steps=0, least_squares_steps=0, sweeps=1
        ).support(0)
        == 2
    )


def test_progress_counts_iterations(small):
    calls = []
    snmf = fit_snmf(small[0], 4, progress=lambda *call: calls.append(call))
    assert calls[0] == ("semi-NMF annealing", 1, 28, "iterations")
    assert calls[28] == ("semi-NMF", 1, 500, "iterations")
    assert len(calls) == 28 + snmf.n_iterations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"n_features": 601}, "at most 600"),
        ({"sparsity": 0.0}, "sparsity is 0.0"),
        ({"sparsity": 1.5}, "sparsity is 1.5"),
        ({"patience": 0}, "patience is 0"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"restarts": 0}, "restarts is 0"),
        ({"tolerance": -1.0}, "tolerance is -1.0"),
        ({"init": "svd", "n_features": 200}, "at most 128 features"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(small, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        fit_snmf(small[0], **{"n_features": 8, **arguments})
    assert "\n" not in str(caught.value)


def test_a_penalty_makes_coefficients_sparser_and_keeps_planted_factors():
    rows, planted_directions = planted.mixture(
        0, n_rows=1500, width=64, n_features=8, support=6, noise=0.1
    )
    plain, sparse = (
        fit_snmf(rows, 8, sparsity=6 / 64, coefficient_sparsity=s, seed=0) for s in (0.0, 0.05)
    )
    active = [float((d.encode(rows) > 0).float().mean()) for d in (plain, sparse)]
    assert active[1] < 0.7 * active[0]
    assert match_directions(sparse.directions, planted_directions).mean_cosine > 0.98
    assert plain.penalty == 0
    assert math.isclose(sparse.penalty, 0.05 * float(rows.norm(dim=1).median()), rel_tol=1e-5)


def test_a_penalised_encoding_solves_its_own_problem():
    rows, _ = planted.mixture(1, n_rows=600, width=64, n_features=8, support=6, noise=0.1)
    sparse = fit_snmf(rows, 8, sparsity=6 / 64, coefficient_sparsity=0.1, seed=0)
    codes = sparse.encode(rows).T
    slope = (
        sparse.directions @ sparse.directions.T @ codes
        - sparse.directions @ rows.T
        + sparse.penalty
    )
    scale = (sparse.directions @ rows.T).abs().max()
    assert float(slope[codes > 0].abs().max()) < 1e-4 * scale
    assert float(slope[codes == 0].min()) > -1e-4 * scale


def test_the_scale_of_the_rows_does_not_matter_to_a_penalty():
    rows, _ = planted.mixture(2, n_rows=600, width=64, n_features=8, support=6)
    one, other = (
        fit_snmf(factor * rows, 8, sparsity=0.1, coefficient_sparsity=0.05, seed=0)
        for factor in (1.0, 64.0)
    )
    assert torch.allclose(one.directions, other.directions, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"coefficient_sparsity": -0.1}, "at least 0"),
        ({"coefficient_sparsity": 0.1, "solver": "multiplicative"}, "published algorithm has none"),
    ],
)
def test_a_penalty_that_cannot_be_is_refused(small, wrong, message):
    with pytest.raises(InputError, match=message):
        fit_snmf(small[0], 4, **wrong)


def test_a_start_from_the_truth_stays_there():
    directions = torch.eye(5, 12)
    values = torch.rand(100, 5, generator=torch.Generator().manual_seed(1)) @ directions
    found = fit_snmf(values, 5, sparsity=0.2, start=directions)
    torch.testing.assert_close(found.directions, directions, atol=1e-4, rtol=0)
    assert found.provenance.parameters["init"] == "start"
    assert found.provenance.parameters["annealing"] == 0


def test_a_start_from_a_finished_fit_is_soon_done_and_an_unused_direction_starts_again(small):
    acts, _ = small
    whole = fit_snmf(acts, 8, sparsity=0.1)
    again = fit_snmf(acts, 8, sparsity=0.1, start=whole.directions)
    assert again.trace[0] <= 1.05 * whole.trace[-1]
    from_rows = fit_snmf(acts, 8, sparsity=0.1, annealing=0)
    assert from_rows.trace[0] > 1.05 * whole.trace[-1], "control"
    start = whole.directions.clone()
    start[3] = 0
    revived = fit_snmf(acts, 8, sparsity=0.1, start=start)
    assert revived.trace[-1] <= 1.01 * whole.trace[-1]


@pytest.mark.parametrize(
    ("start", "arguments", "message"),
    [
        (torch.ones(8, 7), {}, r"\(8, 7\); expected \(8, 64\)"),
        (torch.ones(3, 64), {}, r"\(3, 64\); expected \(8, 64\)"),
        (torch.ones(8, 64), {"solver": "multiplicative"}, "solver='hals' or no start"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(small, start, arguments, message):
    with pytest.raises(InputError, match=message):
        fit_snmf(small[0], 8, start=start, **arguments)
