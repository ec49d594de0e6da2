"""From a judge's AUROC on each concept to the concepts it accepts: one rule for all judges."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from interp.core import Score, bootstrap_mean
from interp.steering.judges.judge import Reliability

ACCEPTED = 0.9

UNMEASURED = Reliability(Score.undefined(0), {}, (), ())
"""The reliability of an unmeasured judge, which accepts and refuses nothing."""


def reliability_of(
    by_concept: Mapping[str, float], chance: Float[np.ndarray, " concept"], seed: int
) -> Reliability:
    """Accept the concepts with an AUROC of at least 0.9; the score is the mean over them.

    `by_concept` holds each concept's AUROC on sentences the judge was not fitted on, NaN if there
    is none; `chance [concept]` the same with permuted labels, whose mean is the control.
    """
    accepted = tuple(concept for concept, value in by_concept.items() if value >= ACCEPTED)
    refused = tuple(concept for concept in by_concept if concept not in accepted)
    known = np.array([by_concept[concept] for concept in accepted])
    control = float(np.mean(chance))
    score = Score.undefined(seed, control=control)
    if accepted:
        score = bootstrap_mean(known, seed=seed, control=control)
    return Reliability(score, dict(by_concept), accepted, refused)
