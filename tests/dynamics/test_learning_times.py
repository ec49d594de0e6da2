"""Learning and turning times against closed forms: linear and symmetric networks on the identity
task of Gaussian clusters; censoring.
"""

import numpy as np
import pytest

from interp.core import InputError
from interp.dynamics.lags import elicitation_lag
from interp.dynamics.learning_times import (
    LearningRule,
    LearningTime,
    learning_time,
    signal_correlation,
    typical_time,
)
from interp.dynamics.turns import TurnRule, find_turn, sharpest_step

EXACT = LearningRule(threshold=0.8, hold=1, interpolate=True)


def moments(signals: np.ndarray, sd: float) -> np.ndarray:
    """`a_k = σ² + μ_k²/s`: the second moments of the clusters N(μ_k e_k, σ²)."""
    return np.asarray(sd**2 + signals**2 / len(signals))


def descent(
    start: np.ndarray, second: np.ndarray, rate: float, steps: int, every: int
) -> tuple[np.ndarray, np.ndarray]:
    """Full gradient descent on `½ E‖f(x) − x‖²` for `f = W x` (start `[s, s]`) or `f = U Uᵀ x`
    (start `[s, hidden]`); the diagonal.
    """
    weights, rows = start.copy(), []
    symmetric = start.shape[0] != start.shape[1]
    for count in range(steps + 1):
        whole = weights @ weights.T if symmetric else weights
        if count % every == 0:
            rows.append(np.diag(whole).copy())
        missed = (whole - np.eye(len(whole))) * second[None, :]
        gradient = (missed + missed.T) @ weights if symmetric else missed
        weights = weights - rate * gradient
    return np.arange(len(rows)) * every * rate, np.array(rows)


def test_linear_networks_learn_when_the_closed_form_says() -> None:
    second = moments(np.array([1.0, 2.0, 3.0]), 0.2)
    times, ways = descent(np.zeros((3, 3)), second, 0.001, 6000, 20)
    for k in range(3):
        found = learning_time(times, ways[:, k], EXACT).step
        assert found == pytest.approx(np.log(5) / second[k], rel=0.02)


def test_symmetric_networks_learn_when_the_closed_form_says() -> None:
    second = moments(np.array([1.0, 2.0, 3.0]), 0.2)
    start = 0.01 * np.random.default_rng(0).standard_normal((3, 50))
    times, ways = descent(start, second, 0.0005, 12_000, 10)
    for k in range(3):
        first = ways[0, k]
        expected = (np.log(4) + np.log((1 - first) / first)) / (4 * second[k])
        assert learning_time(times, ways[:, k], EXACT).step == pytest.approx(expected, rel=0.02)


def test_a_linear_network_turns_when_the_closed_form_says() -> None:
    fast, slow = 4.0, 0.5
    times, ways = descent(np.zeros((2, 2)), np.array([fast, slow]), 0.001, 3000, 5)
    expected = np.log(fast / slow) / (fast - slow)
    assert sharpest_step(times, ways) == pytest.approx(expected, rel=0.02)
    turned = find_turn(times[::10], ways[::10], TurnRule(smoothing=0.0, window=12))
    assert turned.found
    assert turned.before < 45 < turned.after


def test_learned_is_the_first_checkpoint_that_holds() -> None:
    steps, values = [0, 10, 20, 30, 40, 50], np.array([0.1, 0.9, 0.1, 0.8, 0.9, 0.85])
    assert learning_time(steps, values).step == 30
    assert learning_time(steps, values, LearningRule(hold=1)).step == 10
    never = learning_time(steps, values, LearningRule(threshold=0.95))
    assert never.step is None
    assert str(never) == "> 50"
    with pytest.raises(InputError, match="step 10 comes after a later one"):
        learning_time([0, 20, 10], np.zeros(3))
    with pytest.raises(InputError, match="one number per checkpoint"):
        learning_time([0, 1], np.array([0.0, np.nan]))


def test_runs_that_never_learned_are_not_numbers() -> None:
    times = [LearningTime(step, 100.0) for step in (10.0, 20.0, 30.0, None, None)]
    typical = typical_time(times)
    assert typical.value == 30
    assert typical.low is not None
    assert typical.low <= 20
    assert typical.high is None
    assert typical.reached == 3
    assert typical_time([LearningTime(None, 100.0)] * 3).value is None
    # Kaplan and Meier by hand: one of 4 at 10 (3/4), the run watched until 15 leaves, one of 2 at
    # 20 (3/8).
    watched = [
        LearningTime(10.0, 100.0),
        LearningTime(None, 15.0),
        LearningTime(20.0, 100.0),
        LearningTime(None, 100.0),
    ]
    assert typical_time(watched).value == 20
    assert typical_time(watched[:2] + watched[3:]).value is None


def test_speed_follows_the_signal_or_does_not() -> None:
    generator = np.random.default_rng(0)

    def runs(step: float) -> list[LearningTime]:
        return [LearningTime(float(step * generator.uniform(0.9, 1.1)), 5000.0) for _ in range(8)]

    follows = signal_correlation(
        {0.1: [LearningTime(None, 5000.0)] * 8, 0.2: runs(1000), 0.4: runs(500), 0.8: runs(100)}
    )
    assert follows.low > 0.9
    assert abs(follows.control or 0) < 0.1
    same = signal_correlation({signal: runs(500) for signal in (0.1, 0.2, 0.4, 0.8)})
    assert abs(same.value) < 0.5
    assert same.low < follows.low


def test_lags_of_planted_onsets() -> None:
    naive = [LearningTime(step, 100.0) for step in (50.0, 60.0, 70.0, None, None)]
    made = [LearningTime(step, 100.0) for step in (40.0, 40.0, 40.0, 40.0, None)]
    lag = elicitation_lag(naive, made)
    assert lag.median == 20
    assert lag.high == float("inf"), "the fourth run's lag is only known to exceed 60"
    assert (lag.open, lag.failed, lag.unknown, lag.n) == (1, 0, 1, 5)
    assert lag.earlier.value == 1.0
    never = elicitation_lag(made[:4], [LearningTime(None, 100.0)] * 4)
    assert (never.median, never.failed, never.earlier.value) == (float("-inf"), 4, 0.0)
    assert "below" in str(never)
    with pytest.raises(InputError, match="none of 1 runs"):
        elicitation_lag([LearningTime(None, 9.0)], [LearningTime(None, 9.0)])


def noisy(way: np.ndarray, seed: int) -> np.ndarray:
    return way + 0.03 * np.random.default_rng(seed).standard_normal(way.shape)


def test_right_angles_turn_and_straight_ways_do_not() -> None:
    share = np.linspace(0, 1, 30)[:, None]
    straight = share * np.array([[1.0, 0.8]])
    corner = np.concatenate(
        [
            share[:15] * 2 * np.array([[0.0, 0.5]]),
            np.array([[0.0, 0.5]]) + share[:15] * 2 * np.array([[0.5, 0.0]]),
        ]
    )
    steps = np.arange(30) * 10
    turned = [find_turn(steps, noisy(corner, seed), seed=seed) for seed in range(5)]
    assert all(turn.found for turn in turned)
    assert all(110 <= turn.step <= 180 for turn in turned)
    assert all(60 < abs(turn.angle) < 120 for turn in turned)
    kept = [find_turn(steps, noisy(straight, seed), seed=seed) for seed in range(20)]
    assert sum(turn.found for turn in kept) <= 3, "at the level of .05"
    with pytest.raises(InputError, match="at 11 or more"):
        find_turn([0, 1, 2], np.zeros((3, 2)))
