"""Does a feature fire on its concept and not elsewhere?

One measurement for every dictionary: a sentence's score is the feature's largest coefficient over its tokens; the feature of a concept is chosen on the
fit split, and everything reported is measured on the held-out split, beside shuffled labels and random directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from interp.core import Activations, InputError, Score, bootstrap_mean
from interp.decompose.dictionary import Dictionary
from interp.detection.auroc import auroc, auroc_many, average_precision

GOOD = 0.9
CHUNK = 8192


@dataclass(frozen=True)
class LabelledActivations:
    """Activations of labelled sentences: `labels [item]` is the concept of each input, None where it has none."""

    acts: Activations
    labels: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.acts.contexts.items):
            raise InputError(f"{len(self.labels)} labels were given for {len(self.acts.contexts.items)} inputs; give one per input")


@dataclass(frozen=True)
class Detection:
    """How well one feature detects one concept, on sentences used neither to fit nor to choose it.

    `auroc` is against neutral sentences (its control: the same number with shuffled labels), `auroc_others` against sentences of the other concepts,
    `paper_score` Shafran et al.'s log-ratio of mean maximal cosines (None where a mean is not positive). `chosen_on` is the AUROC on the fit split.
    """

    concept: str
    method: str
    feature: int
    auroc: Score
    auroc_others: Score
    average_precision: Score
    paper_score: float | None
    chosen_on: float


def sentence_scores(dictionary: Dictionary, acts: Activations) -> Float[np.ndarray, "item feature"]:
    """Every input's largest coefficient of every feature; an input that left no row scores minus infinity, below every other.

    Cost: one encoding of the activations, in chunks of rows.
    """
    result = np.full((len(acts.contexts.items), len(dictionary)), -np.inf)
    for start in range(0, len(acts), CHUNK):
        coefficients = dictionary.encode(acts.values[start : start + CHUNK]).float().cpu().numpy()
        np.maximum.at(result, acts.contexts.item[start : start + CHUNK], coefficients)
    return result


def sentence_cosines(dictionary: Dictionary, acts: Activations) -> Float[np.ndarray, "item feature"]:
    """Every input's largest cosine between a row and every direction (the score of Shafran et al. 2025)."""
    result = np.full((len(acts.contexts.items), len(dictionary)), -np.inf)
    for start in range(0, len(acts), CHUNK):
        rows = acts.values[start : start + CHUNK].float()
        cosines = (rows @ dictionary.directions.T / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)).cpu().numpy()
        np.maximum.at(result, acts.contexts.item[start : start + CHUNK], cosines)
    return result


def detect(dictionary: Dictionary, fit: LabelledActivations, held_out: LabelledActivations, *, seed: int = 0) -> tuple[Detection, ...]:
    """For every concept the feature that detects it best on `fit`, scored on `held_out`.

    Raises:
        InputError: a split has no labelled or no neutral sentences.

    Example:
        >>> rows = interp.detection.detect(snmf, fit, held_out)
        >>> [(row.concept, row.feature, str(row.auroc)) for row in rows]
    """
    chosen_scores, reported = sentence_scores(dictionary, fit.acts), sentence_scores(dictionary, held_out.acts)
    cosines = sentence_cosines(dictionary, held_out.acts)
    concepts = sorted({label for label in fit.labels if label is not None})
    return tuple(_best(concept, dictionary, chosen_scores, fit.labels, reported, cosines, held_out.labels, seed) for concept in concepts)


def detection_of(
    dictionary: Dictionary, feature: int, concept: str, held_out: LabelledActivations, *, chosen_on: float = float("nan"), seed: int = 0
) -> Detection:
    """How well a given feature detects a given concept on held-out sentences."""
    reported, cosines = sentence_scores(dictionary, held_out.acts), sentence_cosines(dictionary, held_out.acts)
    return _measure(concept, dictionary.method, feature, reported[:, feature], cosines[:, feature], held_out.labels, chosen_on, seed)


def summarise(rows: Sequence[Detection], *, seed: int = 0) -> tuple[int, Score]:
    """How many concepts are detected with AUROC ≥ .9, and the mean AUROC over concepts with its bootstrap interval (control: shuffled labels)."""
    control = float(np.mean([row.auroc.control for row in rows]))
    mean = bootstrap_mean(np.array([row.auroc.value for row in rows]), seed=seed, control=control)
    return sum(row.auroc.value >= GOOD for row in rows), mean


def _best(
    concept: str,
    dictionary: Dictionary,
    chosen_scores: Float[np.ndarray, "item feature"],
    fit_labels: Sequence[str | None],
    reported: Float[np.ndarray, "other_item feature"],
    cosines: Float[np.ndarray, "other_item feature"],
    held_out_labels: Sequence[str | None],
    seed: int,
) -> Detection:
    here, against = _classes(fit_labels, concept)
    rows = here | against
    on_fit = auroc_many(chosen_scores[rows], here[rows])
    # A supervised dictionary has one direction per concept and no choice to make.
    names = list(dictionary.provenance.parameters.get("names", ()))
    feature = names.index(concept) if concept in names else int(on_fit.argmax())
    return _measure(
        concept, dictionary.method, feature, reported[:, feature], cosines[:, feature], held_out_labels, float(on_fit[feature]), seed
    )


def _measure(
    concept: str,
    method: str,
    feature: int,
    scores: Float[np.ndarray, " item"],
    cosines: Float[np.ndarray, " item"],
    labels: Sequence[str | None],
    chosen_on: float,
    seed: int,
) -> Detection:
    here, neutral = _classes(labels, concept)
    others = np.array([label not in (concept, None) for label in labels])
    rows = here | neutral
    shuffled = np.random.default_rng(seed).permutation(here[rows])
    control = float(auroc_many(scores[rows][:, None], shuffled)[0])
    return Detection(
        concept,
        method,
        feature,
        auroc(scores[rows], here[rows], seed=seed, control=control),
        auroc(scores[here | others], here[here | others], seed=seed),
        average_precision(scores[rows], here[rows], seed=seed),
        _log_ratio(cosines[here].mean(), cosines[neutral].mean()),
        chosen_on,
    )


def _classes(labels: Sequence[str | None], concept: str) -> tuple[Bool[np.ndarray, " item"], Bool[np.ndarray, " item"]]:
    here = np.array([label == concept for label in labels])
    neutral = np.array([label is None for label in labels])
    if not here.any() or not neutral.any():
        raise InputError(f"{int(here.sum())} sentences of {concept!r} and {int(neutral.sum())} neutral ones; both are needed")
    return here, neutral


def _log_ratio(concept: float, neutral: float) -> float | None:
    return float(np.log(concept / neutral)) if concept > 0 and neutral > 0 else None
