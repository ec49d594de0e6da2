"""A comparison's table from its parts: means over concepts, and paired differences at one KL."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from interp.core import Score, bootstrap_mean
from interp.steering import paired_difference
from interp.studies.comparison.records import (
    Case,
    DetectionPart,
    Disturbed,
    Lifted,
    LiftPart,
    SideEffectsPart,
    Steered,
    SteeringPart,
    Way,
)
from interp.studies.comparison.result import (
    COMPANION_OR_OWN,
    ControlRow,
    CurvePoint,
    DetectionRow,
    Difference,
    SteeringRow,
)
from interp.studies.methods import RANDOM, SUPERVISED

GOOD = 0.9
Own = TypeVar("Own", bound=Case)


def detection_rows(found: Iterable[DetectionPart], seed: int) -> tuple[DetectionRow, ...]:
    """One row per dictionary: its reconstruction, and how many concepts a feature detects."""
    return tuple(_detection_row(part, seed) for part in found)


def _detection_row(part: DetectionPart, seed: int) -> DetectionRow:
    values = np.array([row.auroc.value for row in part.detections])
    control = float(np.mean([row.auroc.control for row in part.detections]))
    return DetectionRow(
        site=part.site,
        method=part.method,
        size=part.size,
        seconds=part.seconds,
        explained_variance=part.reconstruction.explained_variance,
        l0=part.reconstruction.l0,
        concepts=len(values),
        detected=int((values >= GOOD).sum()),
        auroc=bootstrap_mean(values, seed=seed, control=control),
    )


def steering_rows(
    places: Sequence[SteeringPart],
    lifts: Sequence[LiftPart],
    side_effects: Sequence[SideEffectsPart],
    seed: int,
) -> tuple[SteeringRow, ...]:
    """One row per way of steering (dictionary, route and place): means over concepts."""
    lifted = _by_way(row for part in lifts for row in part.targets)
    disturbed = _by_way(row for part in side_effects for row in part.targets)
    return tuple(
        _steering_row(way, members, lifted.get(way, []), disturbed.get(way, []), seed)
        for way, members in _steered(places).items()
    )


def control_rows(places: Iterable[SteeringPart]) -> tuple[ControlRow, ...]:
    """Random directions and no steering, place by place."""
    return tuple(
        ControlRow(place=part.place, **vars(control))
        for part in places
        for control in part.controls
    )


def difference_rows(places: Sequence[SteeringPart], kl: float, seed: int) -> tuple[Difference, ...]:
    """Paired differences at one KL: companions minus own directions, unsupervised minus difference
    in means at the same place, and semi-NMF minus other unsupervised methods in the same way."""
    groups = _steered(places)
    return tuple(
        Difference(question=question, first=first, second=second, kl=kl, difference=score)
        for first, second, question in _questions(list(groups))
        if (score := _difference(groups[first], groups[second], kl, seed)) is not None
    )


def _questions(ways: Sequence[Way]) -> Iterator[tuple[Way, Way, str]]:
    """Pairs of ways of steering, each with its question."""
    for first in ways:
        for second in ways:
            if question := _question(first, second):
                yield first, second, question


def _question(first: Way, second: Way) -> str | None:
    place = first.place
    supervised = Way(site=place, method=SUPERVISED, size=None, route="native", place=place)
    if second == replace(first, route="native", place=second.place) and first.route == "companion":
        return COMPANION_OR_OWN
    if first.method != SUPERVISED and second == supervised:
        return "unsupervised minus difference in means, same place"
    rivals = second.method not in ("snmf", SUPERVISED, RANDOM)
    if first.method == "snmf" and rivals and second == replace(first, method=second.method):
        return f"semi-NMF minus {second.method}, same way"
    return None


def _by_way(rows: Iterable[Own]) -> dict[Way, list[Own]]:
    groups: dict[Way, list[Own]] = {}
    for row in rows:
        groups.setdefault(row.way, []).append(row)
    return groups


def _steered(places: Iterable[SteeringPart]) -> dict[Way, list[Steered]]:
    return _by_way(row for part in places for row in part.targets)


def _steering_row(
    way: Way,
    members: Sequence[Steered],
    lifted: Sequence[Lifted],
    disturbed: Sequence[Disturbed],
    seed: int,
) -> SteeringRow:
    doses = [dose for member in members for dose in member.curve]
    return SteeringRow(
        **vars(way),
        n=len(members),
        report=_mean([member.report for member in members], seed),
        margin=_mean([member.margin for member in members], seed),
        beat_control=sum(member.beats_control for member in members),
        unreachable=sum(len(member.unreachable) for member in members),
        curve=tuple(
            CurvePoint(kl, _mean([dose.score for dose in doses if dose.kl == kl], seed))
            for kl in sorted({dose.kl for dose in doses})
        ),
        benign_kl=_mean([row.kl for row in disturbed], seed),
        perplexity_ratio=_mean([row.perplexity_ratio for row in disturbed], seed),
        lift=_mean([row.lift for row in lifted], seed),
        lift_percentile=_mean([row.percentile for row in lifted], seed),
    )


def _mean(found: Sequence[Score | float | None], seed: int) -> Score | None:
    """The mean of the finite values; None without any."""
    values = [each.value if isinstance(each, Score) else each for each in found]
    kept = np.array([value for value in values if value is not None], dtype=float)
    kept = kept[np.isfinite(kept)]
    return bootstrap_mean(kept, seed=seed) if len(kept) else None


def _difference(
    first: Sequence[Steered], second: Sequence[Steered], kl: float, seed: int
) -> Score | None:
    """The paired difference over the concepts that both have texts for; None without any."""
    one, other = _by_concept(first, kl), _by_concept(second, kl)
    shared = [concept for concept in one if concept in other]
    if not shared:
        return None
    return paired_difference(
        np.stack([one[concept] for concept in shared]),
        np.stack([other[concept] for concept in shared]),
        seed=seed,
    )


def _by_concept(members: Sequence[Steered], kl: float) -> Mapping[str, Float[np.ndarray, " text"]]:
    """Each concept's text scores at a KL and the chosen sign; NaN where the judge failed."""
    return {
        member.concept: np.array(dose.values, dtype=float)
        for member in members
        for dose in member.curve
        if dose.kl == kl and dose.values and dose.sign == (member.sign or 1)
    }
