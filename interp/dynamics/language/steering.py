"""Steering at a checkpoint with its own, the last checkpoint's and random directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.capture import Call, Model, TokenSelection, record
from interp.core import InputError, Score, bootstrap_mean
from interp.dynamics.language.concepts import Answers, LanguageConcept, Questions, answers
from interp.dynamics.transport import Transport, fit_transport

Arm = Literal["naive", "own", "transported", "final", "random"]
ARMS: tuple[Arm, ...] = ("naive", "own", "transported", "final", "random")
FACTORS = (1.0, 2.0, 4.0)
RANDOM_DRAWS = 3
LAST = TokenSelection(skip_special=False, skip_first=0, which="last")


@dataclass(frozen=True, eq=False)
class ConceptActivations:
    """Activations at the last token of a concept's labelled prompts."""

    positive: Float[Tensor, "prompt d"]
    negative: Float[Tensor, "other_prompt d"]

    @property
    def difference(self) -> Float[Tensor, " d"]:
        """The difference of the two means."""
        return self.positive.mean(dim=0) - self.negative.mean(dim=0)


@dataclass(frozen=True, eq=False)
class ArmEffect:
    """One arm at one checkpoint: the share of the right continuation and the shift of its
    log-probability, by factor and question.

    The naive arm has one row and no shift.
    """

    arm: Arm
    factors: tuple[float, ...]
    shares: Float[np.ndarray, "factor question"]
    shifts: Float[np.ndarray, "factor question"]

    @property
    def best(self) -> int:
        """The number of the factor with the largest mean share."""
        return int(self.shares.mean(axis=1).argmax())

    def share(self, seed: int = 0, factor: int | None = None) -> Score:
        """The mean share at a factor (by number; the best if left out)."""
        return bootstrap_mean(self.shares[self.best if factor is None else factor], seed=seed)

    def shift(
        self, seed: int = 0, factor: int | None = None, control: float | None = None
    ) -> Score:
        """The mean shift of the log-probability at a factor (by number; the best if left out)."""
        return bootstrap_mean(
            self.shifts[self.best if factor is None else factor], seed=seed, control=control
        )


@dataclass(frozen=True)
class AtLastToken:
    """A hook that adds a vector to each prompt's last token."""

    vector: Float[Tensor, " d"]

    def __call__(self, value: Tensor, call: Call) -> Tensor:
        if call.positions is None:
            raise InputError(f"{call.site} has no tokens; steer a language model's site")
        last = call.positions == call.positions.max(dim=1, keepdim=True).values
        return torch.where(last[..., None], value + self.vector.to(value), value)


def concept_activations(model: Model, concept: LanguageConcept, site: str) -> ConceptActivations:
    """Record a site at the last token of a concept's labelled prompts.

    Cost: one forward pass over the prompts up to the site.
    """
    sides = [
        record(model, [list(prompt) for prompt in prompts], site, selection=LAST).values
        for prompts in (concept.positive, concept.negative)
    ]
    return ConceptActivations(sides[0].float(), sides[1].float())


def steer_concept(
    model: Model,
    concept: LanguageConcept,
    site: str,
    *,
    final: ConceptActivations | None = None,
    transport: Transport | None = None,
    questions: Questions | None = None,
    factors: Sequence[float] = FACTORS,
    seed: int = 0,
) -> dict[Arm, ArmEffect]:
    """All arms at one checkpoint, on held-out questions (by default `concept.steered`).

    Every arm adds `factor · ‖difference‖ · unit direction` at the last token, with the difference
    of means of *this* checkpoint, so arms differ only in direction: `own` is that difference;
    `final` the last checkpoint's; `transported` the latter after the rotation that maps the last
    checkpoint's activations to this one's; `random` the mean over 3 random directions per factor,
    which keeps the grid as large as the others'.

    Args:
        final: the last checkpoint's activations on the same prompts; without it the arms `final`
            and `transported` are left out.
        transport: the rotation from the last checkpoint to this one; by default it is fitted on the
            concept's own prompts, which are fewer.
        factors: the grid of strengths.

    Raises:
        InputError: the two means are equal, or the site does not exist.

    Cost: `1 + factors · (arms + 2)` forward passes over the questions.

    Example:
        >>> effects = steer_concept(model, concept, "L2.resid_post", final=final)
        >>> effects["own"].share(), effects["random"].share()
    """
    here = concept_activations(model, concept, site)
    length = float(here.difference.norm())
    if length == 0:
        raise InputError(
            f"the means of {concept.name!r} at {site} are equal; steer at a later site"
        )
    questions = questions or concept.steered
    plain = answers(model, questions)
    effects: dict[Arm, ArmEffect] = {
        "naive": ArmEffect("naive", (0.0,), plain.share[None], np.zeros((1, len(questions))))
    }
    for arm, directions in _directions(here, final, transport, seed).items():
        shares, shifts = [], []
        for factor in factors:
            found = [
                _steered(model, questions, site, factor * length * direction / direction.norm())
                for direction in directions
            ]
            shares.append(np.mean([answer.share for answer in found], axis=0))
            shifts.append(np.mean([answer.log_right - plain.log_right for answer in found], axis=0))
        effects[arm] = ArmEffect(arm, tuple(factors), np.stack(shares), np.stack(shifts))
    return effects


def _directions(
    here: ConceptActivations,
    final: ConceptActivations | None,
    transport: Transport | None,
    seed: int,
) -> dict[Arm, list[Float[Tensor, " d"]]]:
    generator = torch.Generator().manual_seed(seed)
    found: dict[Arm, list[Tensor]] = {"own": [here.difference]}
    if final is not None:
        found["final"] = [final.difference]
        found["transported"] = [
            (transport or _own_transport(final, here, seed)).direction(final.difference)
        ]
    found["random"] = [
        torch.randn(here.difference.shape, generator=generator) for _ in range(RANDOM_DRAWS)
    ]
    return found


def _own_transport(final: ConceptActivations, here: ConceptActivations, seed: int) -> Transport:
    return fit_transport(
        torch.cat([final.positive, final.negative]),
        torch.cat([here.positive, here.negative]),
        seed=seed,
    )


def _steered(model: Model, questions: Questions, site: str, vector: Float[Tensor, " d"]) -> Answers:
    return answers(model, questions, {site: AtLastToken(vector)})
