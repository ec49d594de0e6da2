"""Does a feature fire on its concept and not elsewhere?

The measurement is the same for every dictionary: a sentence's score is the feature's largest
coefficient over its tokens; a concept's feature is chosen on the fit split, and all reported
numbers are of the held-out split, with shuffled labels as control.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from interp.core import Activations, InputError, Score, bootstrap_mean
from interp.core.display.markup import block, facts, numeral, table
from interp.core.display.scores import axis_note, score_cells
from interp.decompose.checks import require_finite, row_chunks
from interp.decompose.dictionary import Dictionary
from interp.detection.auroc import auroc, auroc_many, average_precision

GOOD = 0.9


@dataclass(frozen=True)
class LabelledActivations:
    """Activations of sentences, and each one's concept: `labels [item]`, None for neutral ones."""

    acts: Activations
    labels: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.acts.contexts.items):
            raise InputError(
                f"{len(self.labels)} labels were given for {len(self.acts.contexts.items)} inputs; "
                "give one per input"
            )


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How well one feature detects one concept, on sentences used neither to fit nor to choose it.

    `auroc` is against neutral sentences (control: shuffled labels), `auroc_others` against those of
    other concepts (NaN with n 0 if there are none), `paper_score` Shafran et al.'s log-ratio of
    mean maximal cosines (None if a mean is not positive). `chosen_on` is the AUROC against all
    other sentences of the fit split, by which the feature was chosen.
    """

    concept: str
    method: str
    feature: int
    auroc: Score
    auroc_others: Score
    average_precision: Score
    paper_score: float | None
    chosen_on: float

    def _repr_html_(self) -> str:
        scores = [self.auroc, self.auroc_others, self.average_precision]
        against = "AUROC against neutral sentences", "AUROC against other concepts"
        titles = (*against, "average precision")
        counts = [score.n for score in scores]
        rows = zip(titles, score_cells(scores), counts, strict=True)
        others = [
            ("AUROC where the feature was chosen", numeral(self.chosen_on)),
            ("log-ratio of mean maximal cosines", numeral(self.paper_score)),
        ]
        body = table(("held out", "score", "n"), rows, caption=axis_note(scores))
        about = f"by feature {self.feature} of {self.method}"
        return block("Detection", body, facts(others), name=self.concept, about=about)


def sentence_scores(
    dictionary: Dictionary,
    acts: Activations,
    *,
    coefficients: Float[Tensor, "row feature"] | None = None,
) -> Float[np.ndarray, "item feature"]:
    """Every input's largest coefficient of every feature; minus infinity for an input without rows.

    `coefficients` of the activations, where known, save the encoding.

    Raises:
        InputError: the activations are of another site or width than the dictionary's, or not
            finite.

    Cost: one encoding of the activations.
    """
    encoded = dictionary.encoded(acts, coefficients)
    return _largest(dictionary, acts, lambda rows, _: encoded[rows])


def sentence_cosines(
    dictionary: Dictionary, acts: Activations
) -> Float[np.ndarray, "item feature"]:
    """Every input's largest cosine between a row and every direction (Shafran et al. 2025); minus
    infinity for an input without rows.

    Raises:
        InputError: the activations are of another site or width than the dictionary's, or not
            finite.
    """
    dictionary.require_same_space(acts)
    require_finite(acts)
    directions = normalize(dictionary.directions, dim=1)
    return _largest(
        dictionary, acts, lambda _, values: normalize(values.to(directions), dim=1) @ directions.T
    )


def detect(
    dictionary: Dictionary,
    fit: LabelledActivations,
    held_out: LabelledActivations,
    *,
    coefficients: tuple[Float[Tensor, "row feature"], Float[Tensor, "held_out_row feature"]]
    | None = None,
    seed: int = 0,
) -> tuple[Detection, ...]:
    """For every concept the feature that best tells it from all other sentences of `fit`, scored on
    `held_out`.

    `coefficients` of the two splits, where known, save the encoding. A supervised dictionary
    (difference in means) has one direction per concept, so that none is chosen.

    Raises:
        InputError: a split has no sentences of a concept or no neutral ones, or activations of
            another site.

    Cost: one encoding of both splits; per concept one AUROC of every feature and two bootstraps.

    Example:
        >>> rows = interp.detection.detect(snmf, fit, held_out)
        >>> [(row.concept, row.feature, str(row.auroc)) for row in rows]
    """
    first, second = coefficients or (None, None)
    on_fit = sentence_scores(dictionary, fit.acts, coefficients=first)
    reported = _measured(dictionary, held_out, second)
    return tuple(
        _best(concept, dictionary, on_fit, fit.labels, reported, seed)
        for concept in _concepts(fit.labels)
    )


def detection_of(
    dictionary: Dictionary,
    feature: int,
    concept: str,
    held_out: LabelledActivations,
    *,
    chosen_on: float = float("nan"),
    seed: int = 0,
) -> Detection:
    """How well a given feature detects a given concept on held-out sentences.

    Raises:
        InputError: there are no sentences of the concept or no neutral ones, or activations of
            another site.
    """
    return _detection(concept, feature, _measured(dictionary, held_out, None), chosen_on, seed)


def summarise(rows: Sequence[Detection], *, seed: int = 0) -> tuple[int, Score]:
    """How many concepts have an AUROC ≥ 0.9, and the mean AUROC over concepts (control: shuffled
    labels).

    Raises:
        InputError: there are no rows.
    """
    if not rows:
        raise InputError("no detections to summarise; detect at least one concept")
    control = float(np.mean([row.auroc.control for row in rows]))
    mean = bootstrap_mean(np.array([row.auroc.value for row in rows]), seed=seed, control=control)
    return sum(row.auroc.value >= GOOD for row in rows), mean


@dataclass(frozen=True)
class _Measured:
    """One split under one dictionary: scores and cosines of every sentence, and its label."""

    method: str
    scores: Float[np.ndarray, "item feature"]
    cosines: Float[np.ndarray, "item feature"]
    labels: tuple[str | None, ...]


def _measured(
    dictionary: Dictionary, split: LabelledActivations, coefficients: Tensor | None
) -> _Measured:
    scores = sentence_scores(dictionary, split.acts, coefficients=coefficients)
    cosines = sentence_cosines(dictionary, split.acts)
    return _Measured(dictionary.method, scores, cosines, split.labels)


def _largest(
    dictionary: Dictionary, acts: Activations, score: Callable[[slice, Tensor], Tensor]
) -> Float[np.ndarray, "item feature"]:
    result = np.full((len(acts.contexts.items), len(dictionary)), -np.inf)
    with torch.no_grad():
        for rows, values in row_chunks(acts.values):
            found = score(rows, values).float().cpu().numpy()
            np.maximum.at(result, acts.contexts.item[rows], found)
    return result


def _best(
    concept: str,
    dictionary: Dictionary,
    on_fit: Float[np.ndarray, "item feature"],
    fit_labels: Sequence[str | None],
    reported: _Measured,
    seed: int,
) -> Detection:
    here, _ = _classes(fit_labels, concept)
    # Against other concepts too: a feature of all vivid sentences does well against neutral ones.
    aurocs = auroc_many(on_fit, here)
    names = list(dictionary.provenance.parameters.get("names", ()))
    feature = names.index(concept) if concept in names else int(aurocs.argmax())
    return _detection(concept, feature, reported, float(aurocs[feature]), seed)


def _detection(
    concept: str, feature: int, split: _Measured, chosen_on: float, seed: int
) -> Detection:
    here, neutral = _classes(split.labels, concept)
    others = ~here & ~neutral
    rows, scores, cosines = here | neutral, split.scores[:, feature], split.cosines[:, feature]
    shuffled = np.random.default_rng(seed).permutation(here[rows])
    control = float(auroc_many(scores[rows, None], shuffled)[0])
    return Detection(
        concept=concept,
        method=split.method,
        feature=feature,
        auroc=auroc(scores[rows], here[rows], seed=seed, control=control),
        auroc_others=auroc(scores[here | others], here[here | others], seed=seed)
        if others.any()
        else Score.undefined(seed),
        average_precision=average_precision(scores[rows], here[rows], seed=seed),
        paper_score=_log_ratio(cosines[here], cosines[neutral]),
        chosen_on=chosen_on,
    )


def _concepts(labels: Sequence[str | None]) -> list[str]:
    found = sorted({label for label in labels if label is not None})
    if not found:
        raise InputError(
            f"none of the {len(labels)} sentences is labelled with a concept; label some"
        )
    return found


def _classes(
    labels: Sequence[str | None], concept: str
) -> tuple[Bool[np.ndarray, " item"], Bool[np.ndarray, " item"]]:
    here = np.array([label == concept for label in labels])
    neutral = np.array([label is None for label in labels])
    if not here.any() or not neutral.any():
        raise InputError(
            f"{int(here.sum())} sentences of {concept!r} and {int(neutral.sum())} neutral ones; "
            "both are needed, add some"
        )
    return here, neutral


def _log_ratio(
    concept: Float[np.ndarray, " here"], neutral: Float[np.ndarray, " neutral"]
) -> float | None:
    """Shafran et al.'s score; sentences without rows have no cosine and do not count."""
    concept, neutral = concept[np.isfinite(concept)], neutral[np.isfinite(neutral)]
    if not len(concept) or not len(neutral) or concept.mean() <= 0 or neutral.mean() <= 0:
        return None
    return float(np.log(concept.mean() / neutral.mean()))
