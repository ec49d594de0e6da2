"""A language model's concepts over its checkpoints: prompted, and steered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.capture import Model, record
from interp.core import InputError, Progress, Score, bootstrap_mean, silent
from interp.dynamics.checkpoints import Checkpoint, checked
from interp.dynamics.language.concepts import LanguageConcept, answers, readability
from interp.dynamics.language.steering import (
    FACTORS,
    Arm,
    ArmEffect,
    ConceptActivations,
    concept_activations,
    steer_concept,
)
from interp.dynamics.similarity import linear_cka, relative_agreement
from interp.dynamics.transport import Transport, fit_transport

SIMILARITY_ROWS = 1000
"""Tokens compared by similarities, whose kernels grow with the square."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ConceptTrack:
    """One concept over the checkpoints.

    `naive` is the right continuation's share (0 to 1) where the prompt calls for it; `readable` how
    well that share tells such prompts from others. `steered[arm]` is the share where steering has
    to bring the concept about (`naive`: one row without steering); `shifts[arm]` the shift of the
    right tokens' log-probability.
    """

    name: str
    naive: Float[np.ndarray, "checkpoint question"]
    readable: tuple[Score, ...]
    steered: dict[Arm, Float[np.ndarray, "checkpoint factor question"]]
    shifts: dict[Arm, Float[np.ndarray, "checkpoint factor question"]]

    def arm(self, arm: Arm, factor: int | None = None) -> Float[np.ndarray, "checkpoint question"]:
        """One arm's shares at a factor (by number), or at each checkpoint's best."""
        values = self.steered[arm]
        chosen = (
            values.mean(axis=2).argmax(axis=1) if factor is None else np.full(len(values), factor)
        )
        return np.asarray(values[np.arange(len(values)), chosen])

    def shift(self, arm: Arm, checkpoint: int, factor: int, *, seed: int = 0) -> Score:
        """The mean shift of the log-probability; its control is the random arm's."""
        control = (
            float(self.shifts["random"][checkpoint, factor].mean()) if arm != "random" else None
        )
        return bootstrap_mean(self.shifts[arm][checkpoint, factor], seed=seed, control=control)


@dataclass(frozen=True, eq=False, kw_only=True)
class LanguageTrack:
    """All concepts over the checkpoints, and how representations of neutral texts moved.

    `cka` and `relative` compare every checkpoint with the last (on the first 1,000 tokens);
    `transport` is the share of its variance that the rotation from the last one explains on
    held-out tokens (control: a random rotation), `unmoved` the same without rotation.
    """

    steps: tuple[int, ...]
    site: str
    factors: tuple[float, ...]
    concepts: tuple[ConceptTrack, ...]
    cka: Float[np.ndarray, " checkpoint"]
    relative: Float[np.ndarray, " checkpoint"]
    transport: tuple[Score, ...]
    unmoved: tuple[Score, ...]

    @property
    def fixed(self) -> int:
        """The number of the factor reported beside the best: the second of the grid."""
        return min(1, len(self.factors) - 1)

    def concept(self, name: str) -> ConceptTrack:
        """One concept by name.

        Raises:
            InputError: there is none of this name.
        """
        for found in self.concepts:
            if found.name == name:
                return found
        raise InputError(
            f"there is no concept {name!r}; there are "
            f"{', '.join(found.name for found in self.concepts)}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Place:
    """The measures at one checkpoint."""

    naive: list[np.ndarray]
    readable: list[Score]
    effects: list[dict[Arm, ArmEffect]]
    cka: float
    relative: float
    transport: Transport


def track_language(
    checkpoints: Sequence[Checkpoint],
    concepts: Sequence[LanguageConcept],
    texts: Sequence[str],
    site: str,
    *,
    factors: Sequence[float] = FACTORS,
    seed: int = 0,
    progress: Progress = silent,
) -> LanguageTrack:
    """Measure every concept at every checkpoint: prompted, and steered with its own, the final, the
    transported and random directions (`steer_concept`).

    The final directions come from the last checkpoint; the rotation from it to each other one is
    fitted on `texts`. One checkpoint is in memory at a time (the last one is loaded twice).

    Args:
        checkpoints: of rising steps; each loads a model with its tokenizer.
        concepts: made with the models' tokenizer (`language_concepts`).
        texts: neutral ones, for the rotation and the similarities; a few hundred tokens more than
            the site is wide.
        site: where directions are taken and added, such as `L2.resid_post`.

    Raises:
        InputError: fewer than 2 checkpoints, steps that do not rise, or no concepts.

    Cost: about `2 + 6 · factors` forward passes over each concept's prompts per checkpoint (1 s per
    concept for the tiny model).

    Example:
        >>> track_language(
        ...     checkpoints, language_concepts(tokenizer), texts, "L2.resid_post"
        ... ).concept("number").naive.mean(axis=1)
    """
    _require_track(checkpoints, concepts)
    last = checkpoints[-1].load()
    measures = _Measures(
        concepts=concepts,
        texts=texts,
        site=site,
        final=[concept_activations(last, concept, site) for concept in concepts],
        reference=record(last, list(texts), site).values.float(),
        factors=factors,
        seed=seed,
    )
    del last
    places = []
    for number, checkpoint in enumerate(checkpoints):
        places.append(measures.at(checkpoint.load()))
        progress("track concepts", number + 1, len(checkpoints), "checkpoint")
    return LanguageTrack(
        steps=tuple(checkpoint.step for checkpoint in checkpoints),
        site=site,
        factors=tuple(factors),
        concepts=tuple(
            _gathered(number, concept.name, places) for number, concept in enumerate(concepts)
        ),
        cka=np.array([place.cka for place in places]),
        relative=np.array([place.relative for place in places]),
        transport=tuple(place.transport.explained for place in places),
        unmoved=tuple(place.transport.unmoved for place in places),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Measures:
    """What to measure at every checkpoint, with the last one's activations to compare with."""

    concepts: Sequence[LanguageConcept]
    texts: Sequence[str]
    site: str
    final: Sequence[ConceptActivations]
    reference: Float[Tensor, "row d"]
    factors: Sequence[float]
    seed: int

    def at(self, model: Model) -> _Place:
        """The measures of one checkpoint."""
        here = record(model, list(self.texts), self.site).values.float()
        transport = fit_transport(self.reference, here, seed=self.seed)
        few = self.reference[:SIMILARITY_ROWS], here[:SIMILARITY_ROWS]
        return _Place(
            naive=[answers(model, concept.prompted).share for concept in self.concepts],
            readable=[readability(model, concept, seed=self.seed) for concept in self.concepts],
            effects=[
                steer_concept(
                    model,
                    concept,
                    self.site,
                    final=final,
                    transport=transport,
                    factors=self.factors,
                    seed=self.seed,
                )
                for concept, final in zip(self.concepts, self.final, strict=True)
            ],
            cka=linear_cka(*few),
            relative=relative_agreement(*few),
            transport=transport,
        )


def _gathered(number: int, name: str, places: Sequence[_Place]) -> ConceptTrack:
    effects = [place.effects[number] for place in places]
    return ConceptTrack(
        name=name,
        naive=np.stack([place.naive[number] for place in places]),
        readable=tuple(place.readable[number] for place in places),
        steered={arm: np.stack([effect[arm].shares for effect in effects]) for arm in effects[0]},
        shifts={arm: np.stack([effect[arm].shifts for effect in effects]) for arm in effects[0]},
    )


def _require_track(checkpoints: Sequence[Checkpoint], concepts: Sequence[LanguageConcept]) -> None:
    checked(checkpoints)
    if not concepts:
        raise InputError("no concepts were given; make some with language_concepts(tokenizer)")
