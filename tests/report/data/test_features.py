"""A feature's numbers of stability are those of its index, and what was not asked for is null."""

import numpy as np

from interp.core import Score
from interp.core.plain import plain
from interp.decompose.stability import Stability
from interp.report.data.features import _feature_stability, _method_stability

SCORE = Score(0.75, 0.5, 1.0, n=2, seed=0, control=0.25)


def test_stability_is_taken_by_the_features_index() -> None:
    found = Stability(
        seeds=np.array([0.123456, 1.0]),
        halves=None,
        control=np.array([0.25, 0.2]),
        over_seeds=SCORE,
        over_halves=None,
    )
    own = [plain(_feature_stability(found, index)) for index in (0, 1)]
    assert own[0] == {"seeds": 0.1235, "halves": None, "control": 0.25}
    assert own[1] == {"seeds": 1.0, "halves": None, "control": 0.2}
    assert plain(_method_stability(found)) == {"seeds": SCORE.to_dict(), "halves": None}
