"""k-sparse probing: how well a few features of a dictionary tell a concept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.core import InputError, Score, bootstrap_cases
from interp.core.display.markup import block, facts, table
from interp.core.display.scores import axis_note, score_cells
from interp.decompose.dictionary import Dictionary
from interp.detection.auroc import auroc
from interp.detection.detection import LabelledActivations, sentence_scores

ITERATIONS = 1000


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How well the probe on the `k` features `features` tells a concept, on held-out sentences.

    `accuracy` is the mean of the accuracies on the concept's sentences and on the others (chance is
    0.5). The controls are those of a probe whose features and weights were fitted to shuffled
    labels.
    """

    concept: str
    method: str
    k: int
    features: tuple[int, ...]
    accuracy: Score
    auroc: Score

    def _repr_html_(self) -> str:
        scores = [self.accuracy, self.auroc]
        counts = [score.n for score in scores]
        rows = zip(("accuracy", "AUROC"), score_cells(scores), counts, strict=True)
        chosen = facts([("features", ", ".join(map(str, self.features)))])
        body = table(("held out", "score", "n"), rows, caption=axis_note(scores))
        return block("Probe", body, chosen, name=self.concept, about=f"{self.k} of {self.method}")


def sparse_probing(
    dictionary: Dictionary,
    fit: LabelledActivations,
    held_out: LabelledActivations,
    ks: Sequence[int] = (1, 2, 5),
    *,
    seed: int = 0,
) -> tuple[Probe, ...]:
    """For every concept and k a logistic regression on k features, scored on held-out sentences.

    A sentence's value of a feature is its largest coefficient (0 without rows), in standard
    deviations over the fit sentences. The k features have the largest absolute difference in `fit`
    between the mean over the concept's sentences and that over all others, the negatives.

    Raises:
        InputError: a split lacks sentences of a concept or others, a k is not between 1 and the
            number of features, or activations are of another site.

    Source: Gurnee et al. 2023 (arXiv 2305.01610), section 3; Karvonen et al. 2025 (SAEBench, arXiv
    2503.09532). Cost: one encoding of both splits, and two fits per concept and k.

    Example:
        >>> probes = sparse_probing(sae, fit, held_out)
        >>> [(probe.concept, probe.k, str(probe.accuracy)) for probe in probes]
    """
    for k in ks:
        if not 1 <= k <= len(dictionary):
            raise InputError(
                f"k is {k}; expected between 1 and the dictionary's {len(dictionary)} features"
            )
    known, unseen = _standardised(
        sentence_scores(dictionary, fit.acts), sentence_scores(dictionary, held_out.acts)
    )
    concepts = sorted({label for label in fit.labels if label is not None})
    if not concepts:
        raise InputError(
            f"none of the {len(fit.labels)} sentences is labelled with a concept; label some"
        )
    generator = np.random.default_rng(seed)
    probes = []
    for concept in concepts:
        here, there = _positive(fit.labels, concept), _positive(held_out.labels, concept)
        shuffled = generator.permutation(here)
        probes += [
            _probe(dictionary, concept, k, (known, here, shuffled), (unseen, there), seed)
            for k in ks
        ]
    return tuple(probes)


def _standardised(
    known: Float[np.ndarray, "item feature"], unseen: Float[np.ndarray, "other feature"]
) -> tuple[Float[np.ndarray, "item feature"], Float[np.ndarray, "other feature"]]:
    known = np.where(np.isfinite(known), known, 0.0)
    unseen = np.where(np.isfinite(unseen), unseen, 0.0)
    spread = known.std(axis=0)
    # A constant feature carries nothing; dividing it by one keeps it constant.
    spread = np.where(spread > 0, spread, 1.0)
    return known / spread, unseen / spread


def _positive(labels: Sequence[str | None], concept: str) -> Bool[np.ndarray, " item"]:
    here = np.array([label == concept for label in labels])
    if not here.any() or here.all():
        raise InputError(
            f"{int(here.sum())} of {len(here)} sentences are about {concept!r}; a probe needs some "
            "that are and some that are not"
        )
    return here


def _probe(
    dictionary: Dictionary,
    concept: str,
    k: int,
    fit: tuple[
        Float[np.ndarray, "item feature"], Bool[np.ndarray, " item"], Bool[np.ndarray, " item"]
    ],
    held_out: tuple[Float[np.ndarray, "other feature"], Bool[np.ndarray, " other"]],
    seed: int,
) -> Probe:
    known, here, shuffled = fit
    unseen, there = held_out
    features, logits = _fitted(known, here, k, unseen)
    _, control = _fitted(known, shuffled, k, unseen)
    by_chance = auroc(control, there, seed=seed).value
    return Probe(
        concept=concept,
        method=dictionary.method,
        k=k,
        features=tuple(features.tolist()),
        accuracy=_accuracy(logits, control, there, seed),
        auroc=auroc(logits, there, seed=seed, control=by_chance),
    )


def _fitted(
    known: Float[np.ndarray, "item feature"],
    here: Bool[np.ndarray, " item"],
    k: int,
    unseen: Float[np.ndarray, "other feature"],
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " other"]]:
    """The k features by difference of means, and the held-out log-odds of a probe on them."""
    from sklearn.linear_model import LogisticRegression

    difference = np.abs(known[here].mean(axis=0) - known[~here].mean(axis=0))
    features = np.argsort(-difference, kind="stable")[:k]
    probe = LogisticRegression(max_iter=ITERATIONS, class_weight="balanced")
    probe.fit(known[:, features], here)
    return features, np.asarray(probe.decision_function(unseen[:, features]), dtype=float)


def _accuracy(
    logits: Float[np.ndarray, " case"],
    control: Float[np.ndarray, " case"],
    positive: Bool[np.ndarray, " case"],
    seed: int,
) -> Score:
    def balanced(
        correct: Bool[np.ndarray, " case"], cases: Int[np.ndarray, "*draw case"]
    ) -> Float[np.ndarray, "*draw"]:
        own, right = positive[cases], correct[cases]
        return np.asarray(
            sum((right & one).sum(-1) / np.maximum(one.sum(-1), 1) for one in (own, ~own)) / 2
        )

    by_chance = float(balanced((control > 0) == positive, np.arange(len(positive))))
    correct = (logits > 0) == positive
    return bootstrap_cases(
        len(positive), lambda cases: balanced(correct, cases), seed=seed, control=by_chance
    )
