"""Area under the ROC curve and average precision, with bootstrap intervals."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from interp.core import InputError, Score

RESAMPLES = 1000
INTERVAL = "stratified bootstrap 95%"


def auroc_many(
    scores: Float[np.ndarray, "case feature"], positive: Bool[np.ndarray, " case"]
) -> Float[np.ndarray, " feature"]:
    """AUROC of every column: the probability that a positive case scores above a negative one, ties
    counting half (Mann & Whitney 1947).

    Raises:
        InputError: one of the two classes is empty.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    _require_both(n_positive, n_negative)
    ranks = rankdata(scores, axis=0)
    above = ranks[positive].sum(axis=0) - n_positive * (n_positive + 1) / 2
    return np.asarray(above / (n_positive * n_negative))


def auroc(
    scores: Float[np.ndarray, " case"],
    positive: Bool[np.ndarray, " case"],
    *,
    seed: int,
    control: float | None = None,
) -> Score:
    """AUROC with a stratified percentile bootstrap interval: positives and negatives are resampled
    separately.

    Raises:
        InputError: one of the two classes is empty.

    Cost: one comparison per pair of a positive and a negative case, then two matrix products for
    all resamples.
    """
    value = float(auroc_many(scores[:, None], positive)[0])
    wins = _pairwise(scores[positive], scores[~positive])
    first, second = _stratified(seed, *wins.shape)
    draws = ((first @ wins) * second).sum(axis=1)
    return Score.of_draws(
        value, draws, n=len(scores), seed=seed, control=control, interval=INTERVAL
    )


def average_precision(
    scores: Float[np.ndarray, " case"],
    positive: Bool[np.ndarray, " case"],
    *,
    seed: int,
    control: float | None = None,
) -> Score:
    """Average precision with a stratified percentile bootstrap interval; the control, unless given,
    is chance, the share of positives.

    Definition (scikit-learn's): `Σ_k (R_k − R_{k−1}) P_k` over the distinct scores from the largest
    down, with `P` and `R` the precision and recall at that threshold.

    Raises:
        InputError: one of the two classes is empty.

    Cost: one sort of the cases, then two cumulative sums for every resample.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    _require_both(n_positive, n_negative)
    first, second = _stratified(seed, n_positive, n_negative)
    drawn = np.empty((RESAMPLES, len(scores)))
    drawn[:, positive] = n_positive * first
    drawn[:, ~positive] = n_negative * second
    value = float(_average_precisions(scores, positive, np.ones((1, len(scores))))[0])
    draws = _average_precisions(scores, positive, drawn)
    chance = n_positive / len(scores) if control is None else control
    return Score.of_draws(value, draws, n=len(scores), seed=seed, control=chance, interval=INTERVAL)


def _average_precisions(
    scores: Float[np.ndarray, " case"],
    positive: Bool[np.ndarray, " case"],
    weights: Float[np.ndarray, "resample case"],
) -> Float[np.ndarray, " resample"]:
    """Average precision of weighted cases, for many sets of weights."""
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(scores[order][1:] != scores[order][:-1], True)
    found = np.cumsum(weights[:, order] * positive[order], axis=1)[:, last_of_ties]
    ranked = np.cumsum(weights[:, order], axis=1)[:, last_of_ties]
    recall_gain = np.diff(found, axis=1, prepend=0) / found[:, -1:]
    return np.asarray((recall_gain * found / np.maximum(ranked, 1)).sum(axis=1))


def _require_both(n_positive: int, n_negative: int) -> None:
    if not n_positive or not n_negative:
        raise InputError(
            f"cases of both classes are needed, got {n_positive} positive and {n_negative} "
            "negative; label at least one of each"
        )


def _pairwise(
    positive: Float[np.ndarray, " positive"], negative: Float[np.ndarray, " negative"]
) -> Float[np.ndarray, "positive negative"]:
    return np.asarray((positive[:, None] > negative) + 0.5 * (positive[:, None] == negative))


@lru_cache(maxsize=4)
def _stratified(
    seed: int, n_positive: int, n_negative: int
) -> tuple[Float[np.ndarray, "resample positive"], Float[np.ndarray, "resample negative"]]:
    """The resamples of a seed and class sizes; cached, as drawing takes longer than using them."""
    generator = np.random.default_rng(seed)
    both = _weights(generator, n_positive), _weights(generator, n_negative)
    for weights in both:
        weights.flags.writeable = False
    return both


def _weights(generator: np.random.Generator, n: int) -> Float[np.ndarray, "resample case"]:
    """The share of each case in every resample."""
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
