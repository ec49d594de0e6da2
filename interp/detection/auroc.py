"""Area under the ROC curve and average precision with bootstrap intervals, for many features at once."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from interp.core import InputError, Score

RESAMPLES = 1000
INTERVAL = "stratified bootstrap 95%"


def auroc_many(scores: Float[np.ndarray, "case feature"], positive: Bool[np.ndarray, " case"]) -> Float[np.ndarray, " feature"]:
    """AUROC of every column: the probability that a positive case scores above a negative one, ties counting half (Mann & Whitney 1947).

    Raises:
        InputError: one of the two classes is empty.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    _require_both(n_positive, n_negative)
    ranks = rankdata(scores, axis=0)
    above = ranks[positive].sum(axis=0) - n_positive * (n_positive + 1) / 2
    return np.asarray(above / (n_positive * n_negative))


def auroc(scores: Float[np.ndarray, " case"], positive: Bool[np.ndarray, " case"], *, seed: int, control: float | None = None) -> Score:
    """AUROC with a stratified percentile bootstrap interval: positives and negatives are resampled each for themselves.

    Raises:
        InputError: one of the two classes is empty.

    Cost: one comparison per pair of a positive and a negative case, then two matrix products for all resamples.
    """
    value = float(auroc_many(scores[:, None], positive)[0])
    wins = _pairwise(scores[positive], scores[~positive])
    generator = np.random.default_rng(seed)
    first = _weights(generator, wins.shape[0])
    second = _weights(generator, wins.shape[1])
    low, high = np.quantile(((first @ wins) * second).sum(axis=1), [0.025, 0.975])
    return Score(value, float(low), float(high), len(scores), seed, control, INTERVAL)


def average_precision(
    scores: Float[np.ndarray, " case"], positive: Bool[np.ndarray, " case"], *, seed: int, control: float | None = None
) -> Score:
    """Average precision (scikit-learn's definition) with a bootstrap interval; its chance level, the share of positives, is the control.

    Raises:
        InputError: one of the two classes is empty.

    Cost: 201 sorts of the cases.
    """
    from sklearn.metrics import average_precision_score

    yes, no = np.flatnonzero(positive), np.flatnonzero(~positive)
    _require_both(len(yes), len(no))
    # Only the order matters, and scikit-learn refuses infinite scores.
    ranks = rankdata(scores)
    generator = np.random.default_rng(seed)
    resamples = [np.concatenate([generator.choice(yes, len(yes)), generator.choice(no, len(no))]) for _ in range(RESAMPLES // 5)]
    low, high = np.quantile([average_precision_score(positive[rows], ranks[rows]) for rows in resamples], [0.025, 0.975])
    chance = float(positive.mean()) if control is None else control
    return Score(float(average_precision_score(positive, ranks)), float(low), float(high), len(scores), seed, chance, INTERVAL)


def _require_both(n_positive: int, n_negative: int) -> None:
    if not n_positive or not n_negative:
        raise InputError(
            f"cases of both classes are needed, got {n_positive} positive and {n_negative} negative; label at least one of each"
        )


def _pairwise(positive: Float[np.ndarray, " positive"], negative: Float[np.ndarray, " negative"]) -> Float[np.ndarray, "positive negative"]:
    return (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)


def _weights(generator: np.random.Generator, n: int) -> Float[np.ndarray, "resample case"]:
    """How often each case is drawn, as shares, for every resample."""
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
