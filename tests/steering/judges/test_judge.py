"""A judgement: harmonic mean of concept and fluency, and failures that are no zeros."""

import numpy as np
import pytest

from interp.core import Score
from interp.steering import Judge, Judgement, MeasuredJudge, Reliability

TABLE = [
    (0, 0, 0),
    (0, 2, 0),
    (2, 0, 0),
    (1, 1, 1),
    (2, 2, 2),
    (1, 2, 4 / 3),
    (2, 1, 4 / 3),
    (0.5, 1.5, 0.75),
]


@pytest.mark.parametrize(("concept", "fluency", "score"), TABLE)
def test_the_score_is_the_harmonic_mean(concept, fluency, score):
    judgement = Judgement(np.array([float(concept)]), np.array([float(fluency)]), np.array([False]))
    assert judgement.score == pytest.approx([score])


def test_a_failure_is_no_number():
    judgement = Judgement(
        np.array([np.nan, 0.0, 2.0]), np.array([np.nan, 2.0, 2.0]), np.array([True, False, False])
    )
    np.testing.assert_array_equal(judgement.score, [np.nan, 0.0, 2.0])


def test_anything_with_the_one_method_is_a_judge():
    class Plain:
        def judge(self, prompts, texts, concepts):
            raise NotImplementedError

    class Measured(Plain):
        name = "measured"
        reliability = Reliability(Score(1.0, 1.0, 1.0, n=1, seed=0), {}, (), ())

    assert isinstance(Plain(), Judge)
    assert not isinstance(Plain(), MeasuredJudge)
    assert isinstance(Measured(), MeasuredJudge)
    assert not isinstance(object(), Judge)
