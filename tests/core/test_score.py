"""Scores: the interval holds the truth as often as it says, and a score survives json."""

import json

import numpy as np
import pytest

from interp.core import InputError, Score, bootstrap_cases, bootstrap_mean, bootstrap_statistic

TRIALS = 300


def coverage(truth: float) -> float:
    """How often the interval of 40 exponential values (mean 1) holds a number."""
    generator = np.random.default_rng(0)
    scores = [
        bootstrap_mean(generator.exponential(size=40), seed=trial, resamples=400)
        for trial in range(TRIALS)
    ]
    return float(np.mean([score.low <= truth <= score.high for score in scores]))


def test_the_interval_covers_the_truth_and_little_else() -> None:
    # The percentile interval of 40 skewed values is known to cover somewhat less than its 95 %.
    assert 0.88 <= coverage(1.0) <= 0.98
    assert coverage(1.8) < 0.2, "control"


def test_width_falls_with_the_root_of_n() -> None:
    values = np.random.default_rng(1).normal(size=1600)
    widths = [
        bootstrap_mean(values[:n], seed=0).high - bootstrap_mean(values[:n], seed=0).low
        for n in (100, 1600)
    ]
    assert 3 < widths[0] / widths[1] < 5
    assert abs(widths[1] - 2 * 1.96 / 40) < 0.02


def test_a_seed_is_a_result_and_the_global_generator_is_left_alone() -> None:
    values = np.random.default_rng(2).normal(size=30)
    np.random.seed(4)  # noqa: NPY002 - the global generator is what is watched
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_any_statistic() -> None:
    values = np.append(np.zeros(99), 1e6)
    score = bootstrap_statistic(
        values, lambda sample: np.median(sample, axis=-1), seed=0, control=0.5
    )
    assert (score.value, score.low, score.high, score.n, score.control) == (0.0, 0.0, 0.0, 100, 0.5)
    assert bootstrap_mean(values, seed=0).high > 1e4, "control: the mean does see the outlier"


def test_cases_by_number_are_the_values_themselves_and_serve_ratios() -> None:
    values = np.random.default_rng(6).normal(loc=3, size=40)
    assert bootstrap_cases(40, lambda cases: values[cases].mean(axis=-1), seed=1) == bootstrap_mean(
        values, seed=1
    )
    doubled = bootstrap_cases(
        40, lambda cases: 2 * values[cases].sum(axis=-1) / values[cases].sum(axis=-1), seed=1
    )
    np.testing.assert_allclose((doubled.value, doubled.low, doubled.high), 2)
    with pytest.raises(InputError, match="at least one value"):
        bootstrap_cases(0, lambda cases: values[cases].mean(axis=-1), seed=1)


def test_one_resample_at_a_time_is_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(size=51)
    whole = bootstrap_mean(values, seed=0)
    monkeypatch.setattr("interp.core.score.DRAWS_AT_ONCE", 120)
    assert bootstrap_mean(values, seed=0) == whole


def test_nothing_has_no_score() -> None:
    with pytest.raises(InputError, match="at least one value"):
        bootstrap_mean(np.array([]), seed=0)


def test_draws_give_the_percentile_interval_and_none_or_nan_gives_none() -> None:
    score = Score.of_draws(0.5, np.linspace(0, 1, 1001), n=7, seed=2, control=0.1, interval="own")
    assert (score.n, score.seed, score.control, score.interval) == (7, 2, 0.1, "own")
    np.testing.assert_allclose((score.value, score.low, score.high), (0.5, 0.025, 0.975))
    for draws in ([], [0.1, np.nan]):
        empty = Score.of_draws(0.5, draws, n=7, seed=2)
        assert empty.value == 0.5
        assert np.isnan([empty.low, empty.high]).all()


def test_what_could_not_be_measured_is_undefined() -> None:
    score = Score.undefined(3, n=2, control=0.4)
    assert np.isnan([score.value, score.low, score.high]).all()
    assert (score.n, score.seed, score.control) == (2, 3, 0.4)
    assert score.to_dict()["value"] is None


def test_json_and_words() -> None:
    score = Score(0.5, float("nan"), float("inf"), n=3, seed=1, control=0.25)
    text = json.dumps(score.to_dict(), allow_nan=False)
    assert json.loads(text) == {
        "value": 0.5,
        "low": None,
        "high": None,
        "n": 3,
        "seed": 1,
        "control": 0.25,
        "interval": "bootstrap 95%",
    }
    assert (
        str(Score(0.91, 0.88, 0.94, n=50, seed=0, control=0.52))
        == "0.910 [0.880, 0.940] (n=50, control 0.520)"
    )
    assert "control" not in Score(0.91, 0.88, 0.94, n=50, seed=0)._repr_html_()
