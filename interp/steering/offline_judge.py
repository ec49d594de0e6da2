"""The default judge: a sentence encoder with logistic regression for the concept, the unsteered model for fluency. No network, no key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.core import InputError, Score, bootstrap_mean
from interp.corpus import ConceptSet, labelled
from interp.detection import auroc_many
from interp.models.encoder import SentenceEncoder
from interp.models.transformer import TransformerModel
from interp.steering.fluency import Fluency, fit_fluency, repetition_rate, surprises
from interp.steering.judge import SCALE, Judgement, Reliability

NEUTRAL = "(none)"
ACCEPTED = 0.9
STRENGTHS = (1.0, 10.0, 100.0)


@dataclass(frozen=True)
class OfflineJudge:
    """Concept: the calibrated probability that a text belongs to the concept rather than to another one or to none, times two. Fluency: see `Fluency`.

    It reports its own AUROC on held-out sentences and refuses a concept that it tells apart with less than .9.

    Example:
        >>> judge = fit_offline_judge(model, encoder, concepts)
        >>> judge.reliability.auroc, judge.reliability.refused
    """

    model: TransformerModel
    encoder: SentenceEncoder
    classifier: Any
    fluency: Fluency
    reliability: Reliability
    name: str = "offline: sentence encoder with logistic regression; perplexity and repetition"

    def judge(self, prompts: Sequence[str], texts: Sequence[str], concepts: Sequence[str]) -> Judgement:
        """Scores of continuations, each for its own concept.

        Raises:
            InputError: a concept is one the judge refuses.

        Cost: one encoding and one forward pass per text.
        """
        return self.judge_many(prompts, texts)(concepts)

    def judge_many(self, prompts: Sequence[str], texts: Sequence[str]) -> "Judged":
        """Look at texts once; the result scores them for any concepts at no further cost."""
        probability = self.classifier.predict_proba(self.encoder.encode(texts).numpy())
        repetition = np.array([repetition_rate(text) for text in texts])
        fluency = self.fluency.score(surprises(self.model, prompts, texts), repetition)
        return Judged(probability, fluency, tuple(self.classifier.classes_), self.reliability.refused)


@dataclass(frozen=True)
class Judged:
    """Texts that have been looked at: `probability [text, concept]` and `fluency [text]`."""

    probability: Float[np.ndarray, "text concept"]
    fluency: Float[np.ndarray, " text"]
    concepts: tuple[str, ...]
    refused: tuple[str, ...]

    def __call__(self, concepts: Sequence[str]) -> Judgement:
        """Scores, each text for its own concept.

        Raises:
            InputError: a concept is unknown to the judge or one that it refuses.
        """
        for concept in dict.fromkeys(concepts):
            if concept in self.refused or concept not in self.concepts:
                raise InputError(f"the judge cannot tell {concept!r} apart (or does not know it); choose among {', '.join(self.concepts)}")
        column = np.array([self.concepts.index(concept) for concept in concepts])
        score = SCALE * self.probability[np.arange(len(column)), column]
        return Judgement(score, self.fluency, np.zeros(len(column), dtype=bool))


def fit_offline_judge(model: TransformerModel, encoder: SentenceEncoder, concepts: ConceptSet, *, seed: int = 0) -> OfflineJudge:
    """Fit the judge on the concepts' fit sentences and measure it on the held-out ones.

    The regularisation is chosen by 5-fold cross-validated log-loss on the fit sentences alone, which is also what makes the probabilities calibrated.

    Cost: one encoding of all sentences, one forward pass over the neutral ones; a few seconds.
    """
    fit, held_out = labelled(concepts, "fit"), labelled(concepts, "held_out")
    classifier = _classifier(encoder.encode(fit.texts).numpy(), [label or NEUTRAL for label in fit.labels], seed)
    probability = classifier.predict_proba(encoder.encode(held_out.texts).numpy())
    reliability = _reliability(probability, tuple(classifier.classes_), [label or NEUTRAL for label in held_out.labels], seed)
    return OfflineJudge(model, encoder, classifier, fit_fluency(model, concepts.neutral.fit[:150]), reliability)


def _classifier(embeddings: Float[np.ndarray, "text d"], labels: Sequence[str], seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    losses = {
        strength: -cross_val_score(
            LogisticRegression(C=strength, max_iter=1000), embeddings, labels, cv=folds, scoring="neg_log_loss"
        ).mean()
        for strength in STRENGTHS
    }
    return LogisticRegression(C=min(losses, key=losses.__getitem__), max_iter=1000).fit(embeddings, labels)


def _reliability(probability: np.ndarray, classes: tuple[str, ...], labels: Sequence[str], seed: int) -> Reliability:
    truth = np.array(labels)
    values = {
        concept: float(auroc_many(probability[:, [column]], truth == concept)[0])
        for column, concept in enumerate(classes)
        if concept != NEUTRAL
    }
    accepted = tuple(concept for concept, value in values.items() if value >= ACCEPTED)
    refused = tuple(concept for concept in values if concept not in accepted)
    shuffled = np.random.default_rng(seed).permutation(truth)
    chance = [float(auroc_many(probability[:, [classes.index(concept)]], shuffled == concept)[0]) for concept in values]
    known = [values[concept] for concept in accepted]
    score = bootstrap_mean(np.array(known), seed=seed, control=float(np.mean(chance))) if known else Score(float("nan"), 0, 0, 0, seed)
    return Reliability(score, values, accepted, refused)
