"""A comparison's likelihood lifts of concept sentences, and side effects on ordinary text."""

from collections.abc import Sequence

import torch

from interp.steering import Lift, likelihood_lift, side_effects
from interp.studies.comparison.detection import Bench
from interp.studies.comparison.parts import Parts
from interp.studies.comparison.records import (
    Disturbed,
    Lifted,
    LiftPart,
    SideEffectsPart,
    Steered,
    SteeringPart,
)
from interp.studies.comparison.steering import Entry


def lift_part(
    bench: Bench, place: str, entries: Sequence[Entry], concepts: Sequence[str], parts: Parts
) -> LiftPart:
    """One place's part: every entry's likelihood lift against random directions."""
    how, known = bench.settings.lift, bench.concepts

    def make() -> LiftPart:
        result = likelihood_lift(
            bench.model,
            [entry.target for entry in entries],
            {own.name: own.held_out for own in known.concepts if own.name in concepts},
            known.neutral.held_out,
            kl=how.kl,
            n_random=how.n_random,
            n_sentences=how.concept_sentences,
            n_neutral=how.other_sentences,
            n_tokens=how.tokens,
            seed=bench.settings.seed,
            progress=bench.progress,
        )
        pairs = zip(entries, result.lifts, strict=True)
        return LiftPart(place, tuple(_lifted(entry, lift) for entry, lift in pairs))

    return parts.get(f"lift-{place}", LiftPart, make)


def _lifted(entry: Entry, lift: Lift) -> Lifted:
    return Lifted(
        **vars(entry.case),
        lift=lift.score,
        percentile=lift.percentile if lift.reached else None,
        n_random=lift.n_random,
    )


def side_effects_part(
    bench: Bench, place: str, entries: Sequence[Entry], steered: SteeringPart, parts: Parts
) -> SideEffectsPart:
    """One place's part: what each entry does to ordinary text at its chosen strength, if any."""
    chosen = [
        (entry, vector)
        for entry, row in zip(entries, steered.targets, strict=True)
        if (vector := _vector(entry, row)) is not None
    ]

    def make() -> SideEffectsPart:
        if not chosen:
            return SideEffectsPart(place, ())
        effects = side_effects(
            bench.model,
            place,
            torch.stack([vector for _, vector in chosen]),
            bench.concepts.neutral.held_out[: bench.settings.lift.other_sentences],
            seed=bench.settings.seed,
            progress=bench.progress,
        )
        rows = (
            Disturbed(**vars(entry.case), **vars(effect))
            for (entry, _), effect in zip(chosen, effects, strict=True)
        )
        return SideEffectsPart(place, tuple(rows))

    return parts.get(f"side-effects-{place}", SideEffectsPart, make)


def _vector(entry: Entry, row: Steered) -> torch.Tensor | None:
    """The shift at the chosen strength `[d]`."""
    if row.alpha is None or row.sign is None:
        return None
    return row.sign * row.alpha * torch.nn.functional.normalize(entry.target.direction, dim=0)
