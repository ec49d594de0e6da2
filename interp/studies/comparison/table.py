"""From the parts of a comparison to its table: means over concepts with intervals, and paired
differences at equal strength.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from interp.core import Score, bootstrap_mean
from interp.steering import paired_difference
from interp.studies.comparison.finding import RANDOM, SUPERVISED

GOOD = 0.9
KEY = ("site", "method", "size", "route", "place")
Group = tuple[Any, ...]


def detection_rows(found: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """One row per dictionary: what it reconstructs and how many concepts one of its features
    detects.
    """
    rows = []
    for part in found:
        values = np.array([row["auroc"]["value"] for row in part["detections"]])
        control = float(np.mean([row["auroc"]["control"] for row in part["detections"]]))
        rows.append(
            {
                **{key: part[key] for key in ("site", "method", "size", "seconds")},
                "explained_variance": part["reconstruction"]["explained_variance"],
                "l0": part["reconstruction"]["l0"],
                "concepts": len(values),
                "detected": int((values >= GOOD).sum()),
                "auroc": bootstrap_mean(values, seed=seed, control=control).to_dict(),
            }
        )
    return rows


def steering_rows(
    places: Sequence[Mapping[str, Any]],
    lifts: Sequence[Mapping[str, Any]],
    side_effects: Sequence[Mapping[str, Any]],
    seed: int,
) -> list[dict[str, Any]]:
    """One row per way of steering (dictionary, route and place): means over concepts."""
    groups = _grouped([target for part in places for target in part["targets"]])
    lifted = _grouped([row for part in lifts for row in part["targets"]])
    disturbed = _grouped([row for part in side_effects for row in part["targets"]])
    return [
        _row(key, members, lifted.get(key, []), disturbed.get(key, []), seed)
        for key, members in groups.items()
    ]


def control_rows(places: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Random directions and no steering, place by place."""
    return [{"place": part["place"], **control} for part in places for control in part["controls"]]


def difference_rows(
    places: Sequence[Mapping[str, Any]], kl: float, seed: int
) -> list[dict[str, Any]]:
    """Paired differences at one KL: companions minus own directions, every unsupervised way minus
    difference in means at the same place, and semi-NMF minus every other unsupervised method in the
    same way."""
    groups = _grouped([target for part in places for target in part["targets"]])
    rows = []
    for first, second, question in _questions(list(groups)):
        score = _difference(groups[first], groups[second], kl, seed)
        if score is not None:
            rows.append(
                {
                    "question": question,
                    "first": _named(first),
                    "second": _named(second),
                    "kl": kl,
                    "difference": score.to_dict(),
                }
            )
    return rows


def _questions(keys: Sequence[Group]) -> list[tuple[Group, Group, str]]:
    """Which pairs of ways of steering are compared, and what for."""
    pairs = []
    for first in keys:
        site, method, size, route, place = first
        for second in keys:
            other = dict(zip(KEY, second, strict=True))
            same_way = (other["site"], other["route"], other["place"], other["size"]) == (
                site,
                route,
                place,
                size,
            )
            if route == "companion" and other["route"] == "native" and second[:3] == first[:3]:
                pairs.append((first, second, "companion minus own direction"))
            elif method != SUPERVISED and second == (place, SUPERVISED, None, "native", place):
                pairs.append((first, second, "unsupervised minus difference in means, same place"))
            elif (
                method == "snmf"
                and same_way
                and other["method"] not in ("snmf", SUPERVISED, RANDOM)
            ):
                pairs.append((first, second, f"semi-NMF minus {other['method']}, same way"))
    return pairs


def _grouped(targets: Sequence[Mapping[str, Any]]) -> dict[Group, list[Mapping[str, Any]]]:
    groups: dict[Group, list[Mapping[str, Any]]] = {}
    for target in targets:
        groups.setdefault(tuple(target[key] for key in KEY), []).append(target)
    return groups


def _named(key: Group) -> dict[str, Any]:
    return dict(zip(KEY, key, strict=True))


def _row(
    key: Group,
    members: Sequence[Mapping[str, Any]],
    lifted: Sequence[Mapping[str, Any]],
    disturbed: Sequence[Mapping[str, Any]],
    seed: int,
) -> dict[str, Any]:
    strengths = sorted({dose["kl"] for member in members for dose in member["curve"]})
    return {
        **_named(key),
        "n": len(members),
        "report": _mean([member["report"] for member in members], seed),
        "margin": _mean([member["margin"] for member in members], seed),
        "beat_control": sum(bool(member["beats_control"]) for member in members),
        "unreachable": sum(len(member["unreachable"]) for member in members),
        "curve": [
            {
                "kl": kl,
                "score": _mean(
                    [
                        dose["score"]
                        for member in members
                        for dose in member["curve"]
                        if dose["kl"] == kl
                    ],
                    seed,
                ),
            }
            for kl in strengths
        ],
        "benign_kl": _mean([row["kl"] for row in disturbed], seed),
        "perplexity_ratio": _mean([row["perplexity_ratio"] for row in disturbed], seed),
        "lift": _plain_mean([row["lift"]["value"] for row in lifted if row["lift"]], seed),
        "lift_percentile": _plain_mean([row["percentile"] for row in lifted], seed),
    }


def _mean(scores: Sequence[Mapping[str, Any] | None], seed: int) -> dict[str, Any] | None:
    return _plain_mean([score["value"] for score in scores if score is not None], seed)


def _plain_mean(values: Sequence[float | None], seed: int) -> dict[str, Any] | None:
    kept = np.array([value for value in values if value is not None], dtype=float)
    return bootstrap_mean(kept, seed=seed).to_dict() if len(kept) else None


def _difference(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], kl: float, seed: int
) -> Score | None:
    """The paired difference over the concepts that both have texts for; None where there are
    none.
    """
    one, other = _by_concept(first, kl), _by_concept(second, kl)
    shared = [concept for concept in one if concept in other]
    if not shared:
        return None
    return paired_difference(
        np.stack([one[concept] for concept in shared]),
        np.stack([other[concept] for concept in shared]),
        seed=seed,
    )


def _by_concept(
    members: Sequence[Mapping[str, Any]], kl: float
) -> dict[str, Float[np.ndarray, " text"]]:
    """Each concept's text scores at a KL, of the sign that was chosen on the selection prompts."""
    found: dict[str, Float[np.ndarray, " text"]] = {}
    for member in members:
        doses = [
            dose
            for dose in member["curve"]
            if dose["kl"] == kl and dose["values"] and dose["sign"] == (member["sign"] or 1)
        ]
        if doses:
            found[member["concept"]] = np.array(
                [np.nan if value is None else value for value in doses[0]["values"]]
            )
    return found
