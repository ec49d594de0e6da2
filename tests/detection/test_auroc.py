"""AUROC and average precision: equal to counting pairs and to scikit-learn, with intervals that
cover.
"""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from interp.core import InputError
from interp.detection import auroc, auroc_many, average_precision
from interp.detection.auroc import _average_precisions


@pytest.fixture
def tied():
    """Scores of five features with many ties, and labels."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 5, size=(60, 5)).astype(float), generator.random(60) < 0.3


def by_pairs(scores, positive):
    wins = [
        (one > two) + 0.5 * (one == two) for one in scores[positive] for two in scores[~positive]
    ]
    return np.mean(wins)


def test_equals_counting_pairs_and_scikit_learn_with_ties(tied):
    scores, positive = tied
    found = auroc_many(scores, positive)
    assert found == pytest.approx([by_pairs(column, positive) for column in scores.T])
    assert found == pytest.approx([roc_auc_score(positive, column) for column in scores.T])
    assert [auroc(column, positive, seed=0).value for column in scores.T] == pytest.approx(found)


def test_average_precision_equals_scikit_learn(tied):
    scores, positive = tied
    for column in scores.T:
        score = average_precision(column, positive, seed=0)
        assert score.value == pytest.approx(average_precision_score(positive, column))
        assert score.control == pytest.approx(positive.mean())
        assert score.low <= score.value <= score.high


def test_resampled_average_precision_equals_scikit_learn_on_the_resample(tied):
    scores, positive = tied
    weights = np.random.default_rng(2).integers(0, 4, size=(6, 60)).astype(float)
    found = _average_precisions(scores[:, 0], positive, weights)
    assert found == pytest.approx(
        [average_precision_score(positive, scores[:, 0], sample_weight=drawn) for drawn in weights]
    )


def test_known_ends_and_middle():
    positive = np.array([True, True, False, False])
    assert auroc(np.array([4.0, 3.0, 2.0, 1.0]), positive, seed=0).value == 1.0
    assert auroc(np.array([1.0, 2.0, 3.0, 4.0]), positive, seed=0).value == 0.0
    flat = auroc(np.ones(4), positive, seed=0)
    assert (flat.value, flat.low, flat.high) == (0.5, 0.5, 0.5)


def test_inputs_that_left_no_row_rank_below_all_and_tie_among_themselves():
    scores, positive = np.array([1.0, -np.inf, 0.0, -np.inf]), np.array([True, True, False, False])
    lowest = np.where(np.isinf(scores), -9.0, scores)
    for measure in (auroc, average_precision):
        assert measure(scores, positive, seed=0) == measure(lowest, positive, seed=0)
    assert auroc(scores, positive, seed=0).value == by_pairs(lowest, positive) == 0.625


def coverage(widen):
    """How often the interval of 100 draws holds the true AUROC of two normal distributions one
    apart, Φ(1/√2).
    """
    truth, generator = norm.cdf(1 / np.sqrt(2)), np.random.default_rng(1)
    hits = 0
    for seed in range(100):
        scores = np.concatenate([generator.normal(1, 1, 40), generator.normal(0, 1, 60)])
        found = auroc(scores, np.arange(100) < 40, seed=seed)
        low, high = (found.value + widen * (end - found.value) for end in (found.low, found.high))
        hits += low <= truth <= high
    return hits / 100


def test_the_interval_covers_as_often_as_it_says_and_a_narrower_one_does_not():
    assert coverage(1.0) >= 0.88
    assert coverage(0.4) < 0.75


def test_same_seed_same_interval(tied):
    scores, positive = tied
    assert auroc(scores[:, 0], positive, seed=3) == auroc(scores[:, 0], positive, seed=3)
    assert auroc(scores[:, 0], positive, seed=3) != auroc(scores[:, 0], positive, seed=4)


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_one_class_alone_is_refused(positive):
    for measure in (auroc, average_precision):
        with pytest.raises(InputError, match="both classes are needed"):
            measure(np.array([0.0, 1.0]), np.array(positive), seed=0)
