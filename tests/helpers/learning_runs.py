"""Runs of the shapes experiment and of a language model with onsets that are planted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from interp.core import Score
from interp.dynamics.feature_births import BirthRule, FeatureHistory
from interp.dynamics.feature_chains import Chain
from interp.dynamics.language.features import ConceptFeature
from interp.dynamics.language.tracking import ConceptTrack, LanguageTrack
from interp.dynamics.learning_times import LearningRule
from interp.studies.learning import LanguageRun
from interp.testbeds.concepts import ConceptRun, ConceptTrainingSettings

HOSTILE = "<script>window.__pwned = 1</script><b>place</b>"
STEPS = tuple(100 * (place + 1) for place in range(24))
ARM_STEPS = STEPS[::2]
RULE = LearningRule(threshold=0.8, hold=3)
NEVER = 10**6


def stepping(steps: Sequence[int], onset: int) -> np.ndarray:
    """0 before the onset, 1 from it on."""
    return (np.asarray(steps) >= onset).astype(float)


def run(
    signal: float, seed: int, colour: int, linear: int, random: int, **changed: Any
) -> ConceptRun:
    """Accuracy steps up: of size at 500, of the held-out class with its colour. Soft coordinates go
    straight along size, then colour.
    """
    noise = 0.01 * np.random.default_rng(seed).random((2, len(STEPS)))
    way = {
        "colour": np.clip((np.asarray(STEPS) - 1200) / 1000, 0, 1),
        "size": np.clip((np.asarray(STEPS) - 200) / 1000, 0, 1),
    }
    naive = {
        "colour": stepping(STEPS, colour),
        "size": stepping(STEPS, 500),
        "joint": stepping(STEPS, max(500, colour)),
    }
    soft = {
        name: np.clip(way[name] - noise[place], 0, 1)
        for place, name in enumerate(("colour", "size"))
    }
    arms = {
        "naive": {0.0: stepping(ARM_STEPS, max(500, colour))},
        "random": {1.0: stepping(ARM_STEPS, random), 2.0: stepping(ARM_STEPS, NEVER)},
        "linear": {
            1.0: stepping(ARM_STEPS, linear + 400),
            2.0: stepping(ARM_STEPS, linear),
            4.0: stepping(ARM_STEPS, NEVER),
        },
    }
    made = ConceptRun(
        settings=ConceptTrainingSettings(colour=signal, seed=seed),
        steps=STEPS,
        naive={**naive, "seen": stepping(STEPS, 300)},
        arms=arms,
        arm_steps=ARM_STEPS,
        coordinates=soft,
    )
    return replace(made, **changed)


def weak_and_strong() -> list[ConceptRun]:
    """Six seeds at each of two signals: at the weak one colour comes late or never, a linear shift
    early, random ones in between.
    """
    weak = [run(0.2, seed, 1900 + 200 * (seed // 2), 900, 1500) for seed in range(6)]
    return [*weak, *(run(0.8, seed, 300, 500, 500) for seed in range(6))]


def score(value: float, control: float | None = None) -> Score:
    return Score(value, value - 0.02, value + 0.02, n=40, seed=3, control=control)


def language(own: int = 200, random: int = NEVER) -> LanguageRun:
    steps = (0, 100, 200, 400, 800, 1600)
    names = (HOSTILE, "number")

    def shares(onset: int) -> np.ndarray:
        return np.repeat(stepping(steps, onset)[:, None], 4, axis=1)

    def arm(onset: int) -> np.ndarray:
        return np.stack([shares(NEVER), shares(onset)], axis=1)

    onsets = {"own": own, "transported": 200, "final": 400, "random": random}
    steered = {"naive": np.zeros((6, 1, 4)), **{name: arm(onset) for name, onset in onsets.items()}}
    shifts = {
        name: np.full((6, 1 if name == "naive" else 2, 4), -0.5 if name == "random" else 1.5)
        for name in steered
    }
    concepts = tuple(
        ConceptTrack(
            name=name,
            naive=shares(400),
            readable=(score(0.97),) * 6,
            steered=steered,
            shifts=shifts,
        )
        for name in names
    )  # type: ignore[arg-type]
    curve = np.linspace(0.1, 1, 6)
    track = LanguageTrack(
        steps=steps,
        site="L1.resid_post",
        factors=(1.0, 2.0),
        concepts=concepts,
        cka=curve,
        relative=curve,
        transport=(score(0.8, 0.003),) * 6,
        unmoved=tuple(score(value) for value in curve),
    )
    chains = (Chain(0, (0, 0, 0)), Chain(2, (1, 1, 1, 1)), Chain(1, (2, 2, 2)))
    links = Score(0.7, 0.6, 0.8, n=5, seed=0, control=0.12)
    history = FeatureHistory(
        steps=steps,
        directions=torch.eye(3).repeat(6, 1, 1),
        shares=np.full((6, 3), 0.1),
        errors=np.zeros(6),
        chains=chains,
        rule=BirthRule(),
        links=links,
        p_value=0.005,
    )
    features = (
        ConceptFeature(
            concept=HOSTILE,
            feature=1,
            detects=score(0.95, 0.5),
            chain=chains[1],
            born=200,
            curve=np.ones(4),
        ),
        ConceptFeature(
            concept="number",
            feature=0,
            detects=score(0.51, 0.5),
            chain=None,
            born=None,
            curve=np.empty(0),
        ),
    )
    return LanguageRun(track, history, features, f"made-up {HOSTILE}")
