"""A language model's run: onsets of its concepts, prompted and steered, with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from interp.dynamics.language.steering import Arm
from interp.dynamics.language.tracking import ConceptTrack, LanguageTrack
from interp.dynamics.learning_times import LearningRule, learning_time
from interp.studies.learning.images import band
from interp.studies.learning.result import (
    STEERED,
    ConceptResult,
    LanguageResult,
    LanguageRun,
    Onset,
    Plane,
)

BANDED: tuple[Arm, ...] = ("naive", "own", "random")
"""The curves drawn with an interval; more would hide each other."""


def study_language(run: LanguageRun, rule: LearningRule) -> LanguageResult:
    """When prompting first elicits each concept, and when steering does.

    Cost: 200 resamples of prompts per concept and arm, some seconds.

    Example:
        >>> study_language(LanguageRun(track), LearningRule()).concept("place").prompted
    """
    track = run.track
    concepts = tuple(_concept(track, concept, rule) for concept in track.concepts)
    return LanguageResult(run, concepts, _planes(run))


def prompt_onset(
    steps: Sequence[int],
    values: Float[np.ndarray, "checkpoint question"],
    rule: LearningRule,
    *,
    seed: int = 0,
    resamples: int = 200,
) -> Onset:
    """When the mean over questions is learned, with a 95 % bootstrap interval over questions.

    Example:
        >>> at, low, high = prompt_onset(track.steps, concept.naive, LearningRule())
    """
    at = np.asarray(steps)
    draws = np.random.default_rng(seed).integers(0, values.shape[1], (resamples, values.shape[1]))
    times = sorted(
        (learning_time(at, values[:, draw].mean(axis=1), rule) for draw in draws),
        key=lambda time: time.ordered,
    )
    return Onset(
        learning_time(at, values.mean(axis=1), rule),
        times[int(0.025 * resamples)],
        times[int(0.975 * resamples)],
    )


def _concept(track: LanguageTrack, concept: ConceptTrack, rule: LearningRule) -> ConceptResult:
    arms = [arm for arm in STEERED if arm in concept.steered]
    values: Mapping[Arm, np.ndarray]
    values = {"naive": concept.naive, **{arm: concept.arm(arm) for arm in arms}}
    onsets = {arm: prompt_onset(track.steps, one, rule) for arm, one in values.items()}
    likelier = {
        arm: prompt_onset(track.steps, (one > 0.5).astype(float), rule)
        for arm, one in values.items()
    }
    last, factor = len(track.steps) - 1, track.fixed
    return ConceptResult(
        name=concept.name,
        prompted=onsets["naive"],
        elicited={arm: onsets[arm] for arm in arms},
        likelier=likelier,
        curves={
            arm: band(track.steps, one.T, interval=arm in BANDED) for arm, one in values.items()
        },
        shifts={arm: concept.shift(arm, last, factor) for arm in STEERED if arm in concept.shifts},
    )


def _planes(run: LanguageRun) -> tuple[Plane, ...]:
    """Pairs of concepts, as shares of the right continuation."""
    concepts = run.track.concepts
    return tuple(
        Plane(
            axes=(f"“{first.name}”, prompted", f"“{second.name}”, prompted"),
            steps=[run.track.steps],
            ways=[np.stack([first.naive.mean(axis=1), second.naive.mean(axis=1)], axis=1)],
            turns=[None],
            names=[run.name],
        )
        for first, second in zip(concepts[::2], concepts[1::2], strict=False)
    )
