"""Paired differences: nothing between a family and itself, a shift where there is one, and
intervals that cover as they say.
"""

import numpy as np
import pytest

from interp.core import InputError
from interp.steering.differences import paired_difference


def test_a_family_and_itself_differ_by_nothing():
    values = np.random.default_rng(1).normal(size=(5, 8))
    found = paired_difference(values, values.copy(), seed=0)
    assert (found.value, found.low, found.high, found.n) == (0.0, 0.0, 0.0, 5)


def test_a_constant_shift_is_found_exactly_however_much_texts_differ():
    values = 10 * np.random.default_rng(2).normal(size=(5, 8))
    found = paired_difference(values + 0.3, values, seed=0)
    assert [found.value, found.low, found.high] == pytest.approx([0.3] * 3)
    back = paired_difference(values, values + 0.3, seed=0)
    assert back.value == pytest.approx(-0.3)


def test_failed_judgements_leave_the_pair_out_and_a_concept_without_pairs_too():
    nan = np.nan
    a = np.array([[1.0, nan, 3.0], [5.0, 5.0, 5.0], [nan, nan, nan]])
    b = np.array([[0.0, 100.0, 0.0], [4.0, 4.0, nan], [1.0, 1.0, 1.0]])
    found = paired_difference(a, b, seed=0)
    assert found.value == pytest.approx((2.0 + 1.0) / 2)
    assert found.n == 2


def test_the_interval_grows_where_concepts_disagree_and_not_with_more_texts_of_the_same_concepts():
    concept_effect = np.array([-1.0, 0.0, 1.0, 2.0])
    few, many = (np.repeat(concept_effect[:, None], texts, axis=1) for texts in (4, 100))
    widths = [
        found.high - found.low
        for found in (
            paired_difference(values, np.zeros_like(values), seed=0) for values in (few, many)
        )
    ]
    assert widths[0] == pytest.approx(widths[1], rel=0.1)
    assert widths[0] > 1.5
    # Control: texts taken for independent would make the interval ten times as narrow.
    assert (
        paired_difference(many.reshape(-1, 1), np.zeros((400, 1)), seed=0).high
        - concept_effect.mean()
        < 0.2
    )


def test_intervals_cover_the_true_difference_about_as_often_as_they_say():
    covered, trials = 0, 120
    for trial in range(trials):
        generator = np.random.default_rng(trial)
        truth = 0.5 + generator.normal(size=(20, 1))
        found = paired_difference(
            truth + generator.normal(size=(20, 6)), np.zeros((20, 6)), seed=trial, resamples=200
        )
        covered += found.low <= 0.5 <= found.high
    assert 0.88 <= covered / trials <= 1.0


def test_the_seed_decides():
    values = np.random.default_rng(3).normal(size=(5, 8))
    zeros = np.zeros_like(values)
    assert paired_difference(values, zeros, seed=0) == paired_difference(values, zeros, seed=0)
    assert (
        paired_difference(values, zeros, seed=0).low != paired_difference(values, zeros, seed=1).low
    )


def test_bad_input_is_named_in_one_line():
    for call, complaint in [
        (
            lambda: paired_difference(np.zeros((2, 3)), np.zeros((3, 2)), seed=0),
            "(2, 3) and (3, 2)",
        ),
        (
            lambda: paired_difference(np.full((2, 3), np.nan), np.zeros((2, 3)), seed=0),
            "no pair of values is left",
        ),
    ]:
        with pytest.raises(InputError) as caught:
            call()
        assert complaint in str(caught.value)
