"""Steers with every dictionary's features, place by place, natively and by companion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from interp.steering import Dose, Judge, Route, Target, TargetResult, evaluate_steering
from interp.studies.comparison.detection import Bench, Fit, directions_of
from interp.studies.comparison.parts import Parts
from interp.studies.comparison.records import (
    Case,
    Control,
    DetectionPart,
    DoseScores,
    Steered,
    SteeringPart,
)
from interp.studies.methods import RANDOM, SUPERVISED


@dataclass(frozen=True)
class Entry:
    """A concept's feature to steer with, natively or by companion; the case is its numbers' key."""

    case: Case
    feature: int
    target: Target


def choose_concepts(
    found: Sequence[DetectionPart], accepted: Sequence[str], count: int
) -> list[str]:
    """The accepted concepts that the unsupervised dictionaries together detect best on the fit
    sentences: one choice for all methods, so that they are compared concept by concept.
    """
    totals: dict[str, list[float]] = {}
    for part in found:
        if part.method not in (SUPERVISED, RANDOM):
            for row in part.detections:
                totals.setdefault(row.concept, []).append(row.chosen_on)
    ranked = sorted(totals, key=lambda concept: -float(np.mean(totals[concept])))
    return [concept for concept in ranked if concept in accepted][:count]


def entries_at(
    place: str, found: Mapping[Fit, DetectionPart], concepts: Sequence[str], folder: Path
) -> list[Entry]:
    """Entries at a place: own directions of dictionaries fitted there, companions of others.

    A feature that never fires on the fit sentences has no companion and is left out.
    """
    entries = []
    for fit, part in found.items():
        directions = directions_of(fit, folder)
        if fit.method == RANDOM or place not in directions:
            continue
        route: Route = "native" if fit.site == place else "companion"
        name = f"{fit.name} {route} at {place}"
        for row, direction in zip(part.detections, directions[place], strict=True):
            if row.concept not in concepts or not bool(direction.norm() > 0):
                continue
            case = Case(**vars(fit), route=route, place=place, concept=row.concept)
            target = Target(
                family=name,
                method=fit.method,
                route=route,
                site=place,
                direction=direction,
                concept=row.concept,
                feature_id=name,
            )
            entries.append(Entry(case, row.feature, target))
    return entries


def steering_part(
    bench: Bench, place: str, entries: Sequence[Entry], judge: Judge, parts: Parts
) -> SteeringPart:
    """One place's part: every entry's score, margin and texts, and the controls of the place."""
    make = partial(_steered, bench, place, entries, judge)
    return parts.get(f"steering-{place}", SteeringPart, make)


def _steered(bench: Bench, place: str, entries: Sequence[Entry], judge: Judge) -> SteeringPart:
    result = evaluate_steering(
        bench.model,
        [entry.target for entry in entries],
        judge=judge,
        protocol=bench.settings.protocol,
        seed=bench.settings.seed,
        progress=bench.progress,
    )
    return SteeringPart(
        place=place,
        targets=tuple(_row(entry, own) for entry, own in zip(entries, result.targets, strict=True)),
        controls=tuple(
            Control(family.family, family.report, family.unreachable)
            for family in result.families
            if family.is_control
        ),
        unsteered=result.unsteered_scores,
        judged=result.judged,
        failed=result.failed,
    )


def _row(entry: Entry, result: TargetResult) -> Steered:
    chosen = None if result.chosen is None else result.doses[result.chosen]
    return Steered(
        **vars(entry.case),
        feature=entry.feature,
        kl=chosen.kl if chosen else None,
        sign=chosen.sign if chosen else None,
        alpha=chosen.alpha if chosen else None,
        report=result.report,
        control=result.control,
        margin=result.margin,
        beats_control=result.beats_control,
        unreachable=result.unreachable,
        curve=tuple(map(_dose_scores, result.doses)),
        texts=tuple((text.prompt, text.text) for text in chosen.continuations) if chosen else (),
    )


def _dose_scores(dose: Dose) -> DoseScores:
    values = tuple(None if np.isnan(value) else float(value) for value in dose.values)
    return DoseScores(kl=dose.kl, sign=dose.sign, score=dose.score, values=values)
