"""Area under the ROC curve and average precision with bootstrap intervals, for many features at once."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from interp.core import InputError, Score

RESAMPLES = 1000


def auroc_many(scores: Float[np.ndarray, "case feature"], positive: Bool[np.ndarray, " case"]) -> Float[np.ndarray, " feature"]:
    """AUROC of every column: the probability that a positive case scores above a negative one, ties counting half (Mann & Whitney 1947).

    Raises:
        InputError: one of the two classes is empty.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise InputError(f"AUROC needs cases of both classes, got {n_positive} positive and {n_negative} negative")
    ranks = rankdata(scores, axis=0)
    above = ranks[positive].sum(axis=0) - n_positive * (n_positive + 1) / 2
    return np.asarray(above / (n_positive * n_negative))


def auroc(scores: Float[np.ndarray, " case"], positive: Bool[np.ndarray, " case"], *, seed: int, control: float | None = None) -> Score:
    """AUROC with a stratified percentile bootstrap interval: positives and negatives are resampled each for themselves.

    Cost: one comparison per pair of a positive and a negative case, then two matrix products for all resamples.
    """
    value = float(auroc_many(scores[:, None], positive)[0])
    wins = _pairwise(scores[positive], scores[~positive])
    generator = np.random.default_rng(seed)
    first = _weights(generator, wins.shape[0])
    second = _weights(generator, wins.shape[1])
    low, high = np.quantile(((first @ wins) * second).sum(axis=1), [0.025, 0.975])
    return Score(value, float(low), float(high), len(scores), seed, control, "stratified bootstrap 95%")


def average_precision(
    scores: Float[np.ndarray, " case"], positive: Bool[np.ndarray, " case"], *, seed: int, control: float | None = None
) -> Score:
    """Average precision (scikit-learn's definition) with a bootstrap interval; its chance level, the share of positives, is the control."""
    from sklearn.metrics import average_precision_score

    generator = np.random.default_rng(seed)
    yes, no = np.flatnonzero(positive), np.flatnonzero(~positive)
    draws = []
    for _ in range(RESAMPLES // 5):
        rows = np.concatenate([generator.choice(yes, len(yes)), generator.choice(no, len(no))])
        draws.append(average_precision_score(positive[rows], scores[rows]))
    low, high = np.quantile(draws, [0.025, 0.975])
    chance = float(positive.mean()) if control is None else control
    return Score(
        float(average_precision_score(positive, scores)), float(low), float(high), len(scores), seed, chance, "stratified bootstrap 95%"
    )


def _pairwise(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    difference = positive[:, None] - negative[None, :]
    return (difference > 0) + 0.5 * (difference == 0)


def _weights(generator: np.random.Generator, n: int) -> np.ndarray:
    """How often each case is drawn, as shares, for every resample."""
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
