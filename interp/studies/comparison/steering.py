"""The second half of a comparison: steer with every dictionary's features, place by place, natively
and by companion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interp.core import Progress, Score
from interp.models import TransformerModel
from interp.steering import (
    Dose,
    Judge,
    Route,
    SteeringResult,
    Target,
    TargetResult,
    evaluate_steering,
)
from interp.studies.comparison.finding import RANDOM, SUPERVISED, Fit, directions_of
from interp.studies.comparison.protocol import Comparison


@dataclass(frozen=True)
class Entry:
    """One thing that is steered with: a concept's feature of a dictionary, natively or by its
    companion.
    """

    fit: Fit
    route: Route
    feature: int
    target: Target

    def described(self) -> dict[str, Any]:
        """Which dictionary, route, place and concept it is, as plain values: the key of all its
        numbers.
        """
        return {
            "site": self.fit.site,
            "method": self.fit.method,
            "size": self.fit.size,
            "route": self.route,
            "place": self.target.site,
            "concept": self.target.concept,
        }


def choose_concepts(
    found: Sequence[Mapping[str, Any]], accepted: Sequence[str], count: int
) -> list[str]:
    """The concepts that the unsupervised dictionaries together tell apart best on the fit
    sentences, among those the judge accepts.

    One choice for all methods, made without the held-out sentences, so that methods are compared
    concept by concept.
    """
    totals: dict[str, list[float]] = {}
    for part in found:
        if part["method"] not in (SUPERVISED, RANDOM):
            for row in part["detections"]:
                totals.setdefault(row["concept"], []).append(row["chosen_on"])
    ranked = sorted(totals, key=lambda concept: -float(np.mean(totals[concept])))
    return [concept for concept in ranked if concept in accepted][:count]


def entries_at(
    place: str,
    fits: Sequence[Fit],
    found: Mapping[Fit, Mapping[str, Any]],
    concepts: Sequence[str],
    folder: Path,
) -> list[Entry]:
    """What is steered with at a place: dictionaries fitted there by their own directions, those
    with companions there by these.

    A feature that never fires on the fit sentences has no companion and is left out.
    """
    entries = []
    for fit in fits:
        directions = directions_of(fit, folder)
        if fit.method == RANDOM or place not in directions:
            continue
        route: Route = "native" if fit.site == place else "companion"
        for number, row in enumerate(found[fit]["detections"]):
            direction = directions[place][number]
            if row["concept"] in concepts and bool(direction.norm() > 0):
                name = f"{fit.name} {route} at {place}"
                entries.append(
                    Entry(
                        fit,
                        route,
                        row["feature"],
                        Target(
                            family=name,
                            method=fit.method,
                            route=route,
                            site=place,
                            direction=direction,
                            concept=row["concept"],
                            feature_id=name,
                        ),
                    )
                )
    return entries


def steered(
    model: TransformerModel,
    entries: Sequence[Entry],
    judge: Judge,
    settings: Comparison,
    progress: Progress,
) -> dict[str, Any]:
    """One place's part: every entry's score, margin and texts, and the controls of the place."""
    targets = [entry.target for entry in entries]
    result = evaluate_steering(
        model,
        targets,
        judge=judge,
        protocol=settings.protocol,
        seed=settings.seed,
        progress=progress,
    )
    return {
        "place": entries[0].target.site,
        "targets": [_plain(entry, own) for entry, own in zip(entries, result.targets, strict=True)],
        "controls": _controls(result),
        "unsteered": {
            concept: score.to_dict() for concept, score in result.unsteered_scores.items()
        },
        "judged": result.judged,
        "failed": result.failed,
    }


def _plain(entry: Entry, result: TargetResult) -> dict[str, Any]:
    chosen = None if result.chosen is None else result.doses[result.chosen]
    return {
        **entry.described(),
        "feature": entry.feature,
        "kl": chosen.kl if chosen else None,
        "sign": chosen.sign if chosen else None,
        "alpha": chosen.alpha if chosen else None,
        "report": _score(result.report),
        "control": _score(result.control),
        "margin": _score(result.margin),
        "beats_control": result.beats_control,
        "unreachable": list(result.unreachable),
        "curve": [
            {"kl": dose.kl, "sign": dose.sign, "score": _score(dose.score), "values": _values(dose)}
            for dose in result.doses
        ],
        "texts": [[text.prompt, text.text] for text in chosen.continuations] if chosen else [],
    }


def _values(dose: Dose) -> list[float | None]:
    """The report continuations' scores, null where the judge failed; empty for a strength that was
    not reached.
    """
    return [None if np.isnan(value) else float(value) for value in dose.values]


def _controls(result: SteeringResult) -> list[dict[str, Any]]:
    return [
        {
            "family": family.family,
            "report": _score(family.report),
            "unreachable": family.unreachable,
        }
        for family in result.families
        if family.is_control
    ]


def _score(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else score.to_dict()
