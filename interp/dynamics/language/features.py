"""When a concept's feature is born, to compare with when the concept is learned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.capture import Model, record
from interp.core import InputError, Progress, Score, silent
from interp.detection.auroc import auroc, auroc_many
from interp.dynamics.checkpoints import Checkpoint
from interp.dynamics.feature_births import BirthRule, FeatureHistory, feature_births
from interp.dynamics.feature_chains import Chain
from interp.dynamics.language.concepts import LanguageConcept, Prompt
from interp.dynamics.language.steering import LAST


@dataclass(frozen=True, eq=False, kw_only=True)
class ConceptFeature:
    """The last checkpoint's best detector of a concept, followed back to its birth.

    It is chosen on the prompts of the concept's direction. `detects` is its AUROC on the held-out
    prompts, with the median feature's as control; `curve` the same at every checkpoint of its
    chain. `chain` and `born` are None if it lived too briefly for the rule.
    """

    concept: str
    feature: int
    detects: Score
    chain: Chain | None
    born: int | None
    curve: Float[np.ndarray, " checkpoint_of_the_chain"]


@dataclass(frozen=True, eq=False)
class _Rows:
    """One checkpoint's rows to factor, and each concept's positive and negative ones."""

    texts: Float[Tensor, "row d"]
    chosen: list[tuple[Tensor, Tensor]]
    held_out: list[tuple[Tensor, Tensor]]


def track_features(
    checkpoints: Sequence[Checkpoint],
    concepts: Sequence[LanguageConcept],
    texts: Sequence[str],
    site: str,
    *,
    n_features: int = 60,
    sparsity: float = 0.05,
    rule: BirthRule = BirthRule(),  # noqa: B008 - frozen
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[FeatureHistory, tuple[ConceptFeature, ...]]:
    """Features at every checkpoint, and for each concept the one that detects it in the end.

    Factored are the tokens of the texts and the last tokens of the prompts for the concepts'
    directions; the questions stay out. One checkpoint is in memory at a time.

    Args:
        site: for semi-NMF one whose axes are neurons, such as `L2.mlp`.

    Raises:
        InputError: see `feature_births`; or there are no concepts.

    Cost: per checkpoint one pass over texts and prompts and one warm-started semi-NMF.

    Example:
        >>> history, features = track_features(checkpoints, concepts, texts, "L2.mlp")
        >>> [(feature.concept, feature.born) for feature in features]
    """
    if not concepts:
        raise InputError("no concepts were given; make some with language_concepts(tokenizer)")
    kept: list[_Rows] = []

    def rows() -> Iterator[Tensor]:
        for checkpoint in checkpoints:
            found = _recorded(checkpoint.load(), concepts, texts, site)
            # Without the factored rows, to save memory.
            kept.append(_Rows(found.texts[:0], found.chosen, found.held_out))
            yield found.texts

    steps = [checkpoint.step for checkpoint in checkpoints]
    history = feature_births(
        steps, rows(), n_features, sparsity=sparsity, rule=rule, seed=seed, progress=progress
    )
    return history, tuple(
        _concept_feature(history, number, concept.name, kept, seed)
        for number, concept in enumerate(concepts)
    )


def _recorded(
    model: Model, concepts: Sequence[LanguageConcept], texts: Sequence[str], site: str
) -> _Rows:
    def last(prompts: tuple[Prompt, ...]) -> Float[Tensor, "prompt d"]:
        return record(
            model, [list(prompt) for prompt in prompts], site, selection=LAST
        ).values.float()

    chosen = [(last(concept.positive), last(concept.negative)) for concept in concepts]
    held_out = [
        (last(concept.prompted.prompts), last(concept.unprompted.prompts)) for concept in concepts
    ]
    values = record(model, list(texts), site).values.float()
    return _Rows(torch.cat([values, *(side for pair in chosen for side in pair)]), chosen, held_out)


def _concept_feature(
    history: FeatureHistory, number: int, name: str, kept: Sequence[_Rows], seed: int
) -> ConceptFeature:
    last = len(kept) - 1
    feature = int(auroc_many(*_coefficients(history, last, kept[last].chosen[number])).argmax())
    coefficients, labels = _coefficients(history, last, kept[last].held_out[number])
    control = float(np.median(auroc_many(coefficients, labels)))
    detects = auroc(coefficients[:, feature], labels, seed=seed, control=control)
    ending = (c for c in history.chains if c.last == last and c.features[-1] == feature)
    chain = next(ending, None)
    places = [] if chain is None else list(enumerate(chain.features, start=chain.first))
    curve = [
        auroc_many(*_coefficients(history, place, kept[place].held_out[number]))[there]
        for place, there in places
    ]
    return ConceptFeature(
        concept=name,
        feature=feature,
        detects=detects,
        chain=chain,
        born=None if chain is None else history.steps[chain.first],
        curve=np.array(curve, dtype=float),
    )


def _coefficients(
    history: FeatureHistory, checkpoint: int, sides: tuple[Tensor, Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    coefficients = history.encode(checkpoint, torch.cat(sides)).double().numpy()
    return coefficients, np.arange(len(coefficients)) < len(sides[0])
