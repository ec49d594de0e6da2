"""Which concepts to steer, and with which directions: the same concepts for every method, so that
comparisons of methods are paired.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from interp.decompose import Dictionary, DifferenceInMeans
from interp.detection import Detection
from interp.steering.targets import Route, Target


def concepts_to_steer(
    found: Sequence[Sequence[Detection]], accepted: Sequence[str], count: int
) -> list[str]:
    """The concepts, among those the judge accepts, that the methods together detect best on the fit
    sentences.

    `found` holds each method's detections, concept by concept. A concept is skipped if a method
    would reuse another concept's feature.
    """
    by_concept = {rows[0].concept: rows for rows in zip(*found, strict=True)}
    chosen: list[str] = []
    used: set[tuple[str, int]] = set()
    for concept in sorted(
        by_concept, key=lambda name: -float(np.mean([row.chosen_on for row in by_concept[name]]))
    ):
        features = {(row.method, row.feature) for row in by_concept[concept]}
        if concept in accepted and not features & used and len(chosen) < count:
            chosen.append(concept)
            used |= features
    return chosen


def steering_targets(
    dictionaries: Mapping[str, Dictionary],
    away: Mapping[str, Float[Tensor, "feature d_site"]],
    reference: DifferenceInMeans,
    found: Mapping[str, Sequence[Detection]],
    chosen: Sequence[str],
    sites: tuple[str, str],
) -> list[Target]:
    """Companions of every dictionary's features, the first dictionary's own directions, and the
    supervised reference.

    `sites` are where the dictionaries were fitted and where companions steer; `away` holds each
    dictionary's companions at the second, where `reference` was fitted. A feature that never fires
    has no companion and is left out.
    """
    site, elsewhere = sites
    targets = []
    for number, (name, dictionary) in enumerate(dictionaries.items()):
        rows = [row for row in found[name] if row.concept in chosen]
        targets += [
            _target(name, "companion", elsewhere, away[name][row.feature], row)
            for row in rows
            if bool(away[name][row.feature].norm() > 0)
        ]
        if number == 0:
            targets += [
                _target(name, "native", site, dictionary.directions[row.feature], row)
                for row in rows
            ]
    supervised = [row for row in found[reference.method] if row.concept in chosen]
    return targets + [
        _target(reference.method, "companion", elsewhere, reference.directions[row.feature], row)
        for row in supervised
    ]


def _target(name: str, route: Route, site: str, direction: Tensor, row: Detection) -> Target:
    return Target(
        family=f"{name} {route}",
        method=name,
        route=route,
        site=site,
        direction=direction,
        concept=row.concept,
        feature_id=f"{name}-{row.feature}",
    )
