"""The default judge: a sentence encoder with logistic regression for the concept, the unsteered
model for fluency; no network, no key.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from interp.core import InputError
from interp.corpus import ConceptSet, labelled
from interp.detection import auroc_many
from interp.models.adapters.encoder import SentenceEncoder
from interp.models.adapters.transformer import TransformerModel
from interp.steering.judges.fluency import Fluency, fit_fluency, repetition_rate, surprises
from interp.steering.judges.judge import SCALE, Judgement, Reliability
from interp.steering.judges.reliability import reliability_of

NEUTRAL = "(none)"
INVERSE_PENALTIES = (1.0, 10.0, 100.0)
FOLDS = 5
FLUENCY_TEXTS = 150


@dataclass(frozen=True, kw_only=True)
class OfflineJudge:
    """Concept: twice the calibrated probability that a text belongs to the concept rather than
    another or none. Fluency: see `Fluency`.

    It reports its AUROC on held-out sentences and refuses concepts below 0.9.

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

    def judge(
        self, prompts: Sequence[str], texts: Sequence[str], concepts: Sequence[str]
    ) -> Judgement:
        """Scores of continuations, each for its own concept.

        Raises:
            InputError: the judge refuses a concept.

        Cost: one encoding and one forward pass per distinct text, for any number of concepts.
        """
        known = self.reliability.accepted
        for concept in dict.fromkeys(concepts):
            if concept not in known:
                raise InputError(
                    f"the judge cannot tell {concept!r} apart (or does not know it); choose among "
                    f"{', '.join(known)}"
                )
        pairs = list(zip(prompts, texts, strict=True))
        place = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
        rows = np.array([place[pair] for pair in pairs])
        probability, fluency = self._look(
            [prompt for prompt, _ in place], [text for _, text in place]
        )
        classes = list(self.classifier.classes_)
        columns = np.array([classes.index(concept) for concept in concepts])
        return Judgement(
            SCALE * probability[rows, columns], fluency[rows], np.zeros(len(rows), dtype=bool)
        )

    def _look(
        self, prompts: Sequence[str], texts: Sequence[str]
    ) -> tuple[Float[np.ndarray, "text class"], Float[np.ndarray, " text"]]:
        probability = self.classifier.predict_proba(self.encoder.encode(texts).numpy())
        repetition = np.array([repetition_rate(text) for text in texts])
        return probability, self.fluency.score(surprises(self.model, prompts, texts), repetition)


def fit_offline_judge(
    model: TransformerModel, encoder: SentenceEncoder, concepts: ConceptSet, *, seed: int = 0
) -> OfflineJudge:
    """Fit the judge on the concepts' fit sentences and measure it on the held-out ones.

    The regularisation is chosen by 5-fold cross-validated log-loss on the fit sentences, which also
    calibrates the probabilities.

    Raises:
        InputError: a concept has fewer than 2 fit sentences or none held out, or there are too few
            neutral ones to learn fluency from.

    Cost: one encoding of all sentences, one forward pass over the neutral ones; a few seconds.
    """
    fit, held_out = labelled(concepts, "fit"), labelled(concepts, "held_out")
    classifier = _classifier(
        encoder.encode(fit.texts).numpy(), [label or NEUTRAL for label in fit.labels], seed
    )
    probability = classifier.predict_proba(encoder.encode(held_out.texts).numpy())
    reliability = _reliability(
        probability,
        list(classifier.classes_),
        [label or NEUTRAL for label in held_out.labels],
        seed,
    )
    return OfflineJudge(
        model=model,
        encoder=encoder,
        classifier=classifier,
        fluency=fit_fluency(model, concepts.neutral.fit[:FLUENCY_TEXTS]),
        reliability=reliability,
    )


def _classifier(embeddings: Float[np.ndarray, "text d"], labels: Sequence[str], seed: int) -> Any:
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from threadpoolctl import threadpool_limits

    smallest, name = min((count, name) for name, count in Counter(labels).items())
    if smallest < 2:
        raise InputError(
            f"{name!r} has {smallest} sentence to fit on; give at least 2, better {FOLDS} or more"
        )
    folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    # The products are so small that several threads would mostly wait for each other.
    with threadpool_limits(1):
        losses = {
            strength: -cross_val_score(
                _regression(strength), embeddings, labels, cv=folds, scoring="neg_log_loss"
            ).mean()
            for strength in INVERSE_PENALTIES
        }
        return _regression(min(losses, key=losses.__getitem__)).fit(embeddings, labels)


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=1000)


def _reliability(
    probability: Float[np.ndarray, "text class"],
    classes: Sequence[str],
    labels: Sequence[str],
    seed: int,
) -> Reliability:
    truth = np.array(labels)
    permuted = np.random.default_rng(seed).permutation(truth)
    column = {str(concept): number for number, concept in enumerate(classes) if concept != NEUTRAL}
    values = {
        concept: _auroc(probability, number, truth == concept) for concept, number in column.items()
    }
    chance = [
        _auroc(probability, number, permuted == concept) for concept, number in column.items()
    ]
    return reliability_of(values, np.array(chance), seed)


def _auroc(
    probability: Float[np.ndarray, "text class"], column: int, positive: Bool[np.ndarray, " text"]
) -> float:
    return float(auroc_many(probability[:, [column]], positive)[0])
