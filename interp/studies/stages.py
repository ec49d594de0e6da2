"""Steps that studies share: record labelled sentences, fit any method, measure what it detects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor

from interp.capture import record
from interp.core import Activations, InputError, Progress, silent
from interp.corpus import ConceptSet, Split, labelled
from interp.decompose import (
    SAE_STEPS,
    Dictionary,
    Reconstruction,
    Unsupervised,
    fit_unsupervised,
    random_dictionary,
    reconstruction,
)
from interp.detection import Detection, LabelledActivations, detect
from interp.features import concept_means
from interp.models import Model, TransformerModel
from interp.studies.methods import RANDOM, SUPERVISED


def require_language_model(model: Model, name: str, purpose: str) -> TransformerModel:
    """The model, if it is a language model.

    Raises:
        InputError: it is not; the message gives its name and the purpose.
    """
    if not isinstance(model, TransformerModel):
        raise InputError(f"{name!r} is not a language model; {purpose}")
    return model


@dataclass(frozen=True)
class Recorded:
    """Activations of sites on a split's labelled sentences; `labels [item]` are None for neutral
    ones.
    """

    acts: Mapping[str, Activations]
    labels: tuple[str | None, ...]

    def at(self, site: str) -> LabelledActivations:
        """One site's activations with their labels."""
        return LabelledActivations(self.acts[site], self.labels)


def record_split(
    model: TransformerModel,
    concepts: ConceptSet,
    split: Split,
    sites: Sequence[str],
    progress: Progress = silent,
) -> Recorded:
    """Record the sentences of a split.

    Cost: one forward pass per batch of sentences.
    """
    sentences = labelled(concepts, split)
    acts = record(model, sentences.texts, list(sites), progress=progress)
    return Recorded(acts, sentences.labels)


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """What all fits of a study have in common."""

    sparsity: float
    coefficient_sparsity: float
    sae_steps: int = SAE_STEPS
    seed: int

    def unsupervised(
        self,
        method: Unsupervised,
        acts: Activations | Float[Tensor, "row d"],
        size: int,
        *,
        seed: int | None = None,
        progress: Progress = silent,
    ) -> Dictionary:
        """One unsupervised dictionary; `seed` is the study's if left out."""
        return fit_unsupervised(
            method,
            acts,
            size,
            sparsity=self.sparsity,
            coefficient_sparsity=self.coefficient_sparsity,
            sae_steps=self.sae_steps,
            seed=self.seed if seed is None else seed,
            progress=progress,
        )

    def fit(
        self,
        method: str,
        acts: Activations,
        known: LabelledActivations,
        size: int | None,
        progress: Progress = silent,
    ) -> Dictionary:
        """A dictionary by any method: with `size` features of `acts`, or for the supervised one a
        direction per concept of the labelled `known`.
        """
        if method == SUPERVISED:
            return concept_means(known.acts, known.labels)
        assert size is not None
        if method == RANDOM:
            return random_dictionary(acts, size, seed=self.seed)
        return self.unsupervised(cast("Unsupervised", method), acts, size, progress=progress)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A dictionary, its rows' coefficients, and its scores on held-out sentences."""

    dictionary: Dictionary
    coefficients: Float[Tensor, "row feature"]
    detections: tuple[Detection, ...]
    reconstruction: Reconstruction


def measure(
    dictionary: Dictionary,
    acts: Activations,
    fit: LabelledActivations,
    held_out: LabelledActivations,
    *,
    seed: int,
) -> Measured:
    """Choose each concept's feature on the fit sentences; score it and the reconstruction on
    held-out ones.

    Cost: encodings of `acts`, of the held-out and, unless they are `acts`, of the fit sentences.
    """
    codes, unseen = dictionary.encode(acts), dictionary.encode(held_out.acts)
    on_fit = codes if acts is fit.acts else dictionary.encode(fit.acts)
    return Measured(
        dictionary=dictionary,
        coefficients=codes,
        detections=detect(dictionary, fit, held_out, coefficients=(on_fit, unseen), seed=seed),
        reconstruction=reconstruction(dictionary, held_out.acts, coefficients=unseen, seed=seed),
    )
