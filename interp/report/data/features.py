"""From the results of a run to the json-ready data that the page shows (the shape is in
schema.py).
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from interp.core import Score
from interp.decompose import Hierarchy
from interp.decompose.stability import Stability
from interp.detection import Detection, summarise
from interp.features import (
    Feature,
    FeatureContext,
    Neighbourhood,
    concept_tree,
    level_labels,
    neighbourhood,
    partners,
)
from interp.report.data.schema import SCHEMA
from interp.steering import Dose, FamilyResult, TargetResult
from interp.studies.features.result import FeaturesResult as Run
from interp.studies.features.result import MethodRun

SHOWN_CONTEXTS = 10
SHOWN_TOKENS = 12
CONCEPT_LABEL_AUROC = 0.85


def report_data(run: Run) -> dict[str, Any]:
    """A run as plain json values; undefined numbers become null, coefficients are rounded to four
    digits.
    """
    provenance = run.acts.provenance
    shown = {name: method for name, method in run.methods.items() if method.features}
    near = _neighbourhood(shown, run.seed)
    return {
        "schema": SCHEMA,
        "title": f"What {run.acts.site} of {run.model} computes",
        "model": _model(run),
        "corpus": {
            "texts": len(run.acts.contexts.items),
            "rows": len(run.acts),
            "concepts": run.concepts,
            "selection": provenance.selection or "",
        },
        "provenance": {
            "activations": provenance.to_dict(),
            "dictionaries": {
                name: method.dictionary.provenance.to_dict() for name, method in run.methods.items()
            },
            "seed": run.seed,
            "seconds": round(run.seconds, 1),
        },
        "methods": [_method(name, method) for name, method in run.methods.items()],
        "detection": _detection(run),
        "judge": _judge(run),
        "steering": _steering(run),
        "features": [
            _feature(feature, run, near)
            for method in run.methods.values()
            for feature in method.features
        ],
        "matches": [
            _match(first, second, shown, run.seed) for first, second in combinations(shown, 2)
        ],
        "hierarchy": None if run.hierarchy is None else _hierarchy(run.hierarchy, run),
    }


def _model(run: Run) -> dict[str, Any]:
    described = {
        "name": run.model,
        "weight_hash": run.acts.provenance.weight_hash,
        "site": run.acts.site,
    }
    return (
        described
        | {"companion_site": run.companion_site}
        | ({} if run.source is None else {"source": run.source})
    )


def _neighbourhood(shown: Mapping[str, MethodRun], seed: int) -> Neighbourhood:
    codes = {
        name: method.coefficients
        for name, method in shown.items()
        if method.coefficients is not None
    }
    return (
        neighbourhood({name: method.dictionary for name, method in shown.items()}, codes, seed=seed)
        if shown
        else Neighbourhood({})
    )


def _match(first: str, second: str, shown: Mapping[str, MethodRun], seed: int) -> dict[str, Any]:
    """Partners of two dictionaries, the nearest first; a component's sign means nothing."""
    matching, mean = partners(
        shown[first].dictionary,
        shown[second].dictionary,
        signed="pca" not in (first, second),
        seed=seed,
    )
    pairs = sorted(
        zip(matching.first, matching.second, matching.cosines, strict=True),
        key=lambda pair: -abs(pair[2]),
    )
    named = [
        {
            "first": f"{first}-{one}",
            "second": f"{second}-{other}",
            "cosine": _rounded(float(cosine)),
        }
        for one, other, cosine in pairs
    ]
    return {"first": first, "second": second, "pairs": named, "mean_cosine": mean.to_dict()}


def _hierarchy(hierarchy: Hierarchy, run: Run) -> dict[str, Any]:
    method = hierarchy.levels[0].method
    own = [
        _label(feature, _detection_of(feature, run))[0] for feature in run.methods[method].features
    ]
    labels = (own, *level_labels(hierarchy, run.acts, run.methods[method].coefficients))
    branches = concept_tree(hierarchy).branches
    return {
        "method": method,
        "levels": [{"features": [{"label": label} for label in level]} for level in labels],
        "branches": [
            {"level": b.level, "parent": b.parent, "child": b.child, "share": _rounded(b.share)}
            for b in branches
        ],
    }


def _method(name: str, run: MethodRun) -> dict[str, Any]:
    quality = run.reconstruction
    return {
        "method": name,
        "title": run.title,
        "features": len(run.dictionary),
        "explained_variance": quality.explained_variance.to_dict(),
        "l0": quality.l0,
        "direction_density": quality.direction_density,
        "dead_fraction": quality.dead_fraction,
        "seconds": float(run.dictionary.provenance.cost.get("seconds", 0.0)),
        "stability": None if run.stability is None else _method_stability(run.stability),
    }


def _method_stability(found: Stability) -> dict[str, Any]:
    both = {"seeds": found.over_seeds, "halves": found.over_halves}
    return {name: None if score is None else score.to_dict() for name, score in both.items()}


def _feature_stability(found: Stability, index: int) -> dict[str, Any]:
    both = {"seeds": found.seeds, "halves": found.halves, "control": found.control}
    return {
        name: None if values is None else _rounded(float(values[index]))
        for name, values in both.items()
    }


def _detection(run: Run) -> dict[str, Any]:
    concepts = [row.concept for row in next(iter(run.methods.values())).detections]
    return {
        "concepts": [
            {
                "concept": concept,
                "best": [
                    _best(name, method.detections[number]) for name, method in run.methods.items()
                ],
            }
            for number, concept in enumerate(concepts)
        ],
        "summary": [
            _summary(name, method.detections, run.seed) for name, method in run.methods.items()
        ],
    }


def _best(name: str, row: Detection) -> dict[str, Any]:
    return {
        "method": name,
        "feature": None if name == "random" else row.feature,
        "auroc": row.auroc.to_dict(),
        "auroc_other_concepts": row.auroc_others.to_dict(),
        "average_precision": row.average_precision.to_dict(),
        "paper_score": row.paper_score,
    }


def _summary(name: str, rows: Sequence[Detection], seed: int) -> dict[str, Any]:
    good, mean = summarise(rows, seed=seed)
    return {
        "method": name,
        "concepts": len(rows),
        "at_least_0.9": good,
        "mean_auroc": mean.to_dict(),
    }


def _judge(run: Run) -> dict[str, Any]:
    reliability = run.reliability
    return {
        "name": run.judge_name,
        "auroc": reliability.auroc.to_dict(),
        "accepted": list(reliability.accepted),
        "refused": [
            {"concept": concept, "auroc": reliability.by_concept[concept]}
            for concept in reliability.refused
        ],
        "asked": run.steering.judged,
        "failed": run.steering.failed,
    }


def _steering(run: Run) -> dict[str, Any]:
    result, protocol = run.steering, run.steering.protocol
    return {
        "prompts_selection": list(protocol.selection_prompts),
        "prompts_report": list(protocol.report_prompts),
        "strengths_kl": list(protocol.strengths),
        "samples": protocol.samples,
        "max_new_tokens": protocol.sampling.max_new_tokens,
        "unsteered": {
            "score": {
                concept: score.to_dict() for concept, score in result.unsteered_scores.items()
            },
            "continuations": [
                {"prompt": text.prompt, "text": text.text} for text in result.unsteered
            ],
        },
        "families": [
            family_data(
                family, {name: method.title for name, method in run.methods.items()}, run.seed
            )
            for family in result.families
        ],
    }


def family_data(family: FamilyResult, titles: Mapping[str, str], seed: int = 0) -> dict[str, Any]:
    """A steering family as a page's data; `titles` name its methods, `seed` is that of a score
    which does not exist.
    """
    return {
        "family": family.family.replace(" ", "-"),
        "title": _family_title(family, titles),
        "method": family.method,
        "route": family.route,
        "site": family.site,
        "control": family.is_control,
        "curve": [{"kl": kl, "score": score.to_dict()} for kl, score in family.curve],
        "report": _score(family.report, seed),
        "minus_best_control": None
        if family.minus_best_control is None
        else family.minus_best_control.to_dict(),
        "unreachable": family.unreachable,
        "n": 0 if family.report is None else family.report.n,
    }


def _family_title(family: FamilyResult, titles: Mapping[str, str]) -> str:
    if family.method not in titles or family.route not in ("native", "companion"):
        return family.family
    how = {"native": "own direction", "companion": "companion"}[family.route]
    supervised = family.method == "difference_in_means"
    return f"{titles[family.method]}{'' if supervised else ', ' + how} at {family.site}"


def _detection_of(feature: Feature, run: Run) -> Detection | None:
    """The concept that a feature was chosen for, the surest of them if there are several."""
    detections = [
        row
        for row in run.methods[feature.dictionary.method].detections
        if row.feature == feature.index
    ]
    return max(detections, key=lambda row: row.chosen_on, default=None)


def _feature(feature: Feature, run: Run, near: Neighbourhood) -> dict[str, Any]:
    method = feature.dictionary.method
    detection = _detection_of(feature, run)
    routes = [
        result
        for result in run.steering.targets
        if result.target.feature_id == feature.id and result.chosen is not None
    ]
    label, source, concept = _label(feature, detection)
    found_again = run.methods[method].stability
    return {
        "id": feature.id,
        "method": method,
        "index": feature.index,
        "label": label,
        "label_source": source,
        "concept": concept,
        "firing_rate": feature.firing_rate,
        "nonzero_neurons": feature.nonzero,
        "stability": None
        if found_again is None
        else _feature_stability(found_again, feature.index),
        "contexts": [_context(context) for context in feature.contexts[:SHOWN_CONTEXTS]],
        "promoted": [
            {"token": effect.token, "logit": _rounded(effect.logit)}
            for effect in feature.promoted[:SHOWN_TOKENS]
        ],
        "suppressed": [
            {"token": effect.token, "logit": _rounded(effect.logit)}
            for effect in feature.suppressed[:SHOWN_TOKENS]
        ],
        "detection": None if detection is None else _feature_detection(detection, run),
        "steering": {
            "concept": routes[0].target.concept,
            "routes": [_route(result, run.seed) for result in routes],
        }
        if routes
        else None,
        "neighbours": [
            {
                "id": n.id,
                "cosine": _rounded(n.cosine),
                "coactivation": None if n.coactivation is None else _rounded(n.coactivation),
            }
            for n in near.nearest[feature.id]
        ],
        "neighbour_control": _rounded(near.control[feature.id]),
    }


def _label(feature: Feature, detection: Detection | None) -> tuple[str, str, str | None]:
    """A feature that detects a concept on the fit sentences is named after it (the held-out score
    stands beside it); else its own words.
    """
    if detection is None or detection.chosen_on < CONCEPT_LABEL_AUROC:
        return feature.label, feature.label_source, None
    return (
        f"{detection.concept}: {feature.label}",
        "concept and distinctive words",
        detection.concept,
    )


def _context(context: FeatureContext) -> dict[str, Any]:
    return {
        "tokens": list(context.tokens),
        "coefficients": [_rounded(value) for value in context.coefficients],
        "peak": context.peak,
    }


def _feature_detection(row: Detection, run: Run) -> dict[str, Any]:
    random = [
        other.auroc.value
        for other in run.methods["random"].detections
        if other.concept == row.concept
    ]
    return {
        "concept": row.concept,
        "auroc": row.auroc.to_dict(),
        "auroc_other_concepts": row.auroc_others.to_dict(),
        "average_precision": row.average_precision.to_dict(),
        "control_random": random[0],
        "control_shuffled": float(row.auroc.control or 0.0),
    }


def _route(result: TargetResult, seed: int) -> dict[str, Any]:
    assert result.chosen is not None
    chosen = result.doses[result.chosen]
    return {
        "route": result.target.route,
        "site": result.target.site,
        "dose": [_dose(dose, seed) for dose in result.doses if dose.score is not None],
        "chosen": {"kl": chosen.kl, "sign": chosen.sign},
        "report": _score(result.report, seed),
        "control": result.control.to_dict(),
        "beats_control": result.beats_control,
        "lift": None,
        "unreachable": list(result.unreachable),
    }


def _dose(dose: Dose, seed: int) -> dict[str, Any]:
    return {
        "kl": dose.kl,
        "measured_kl": _rounded(dose.measured_kl),
        "alpha": _rounded(dose.alpha),
        "sign": dose.sign,
        "score": _score(dose.score, seed),
        "concept_score": dose.concept_score,
        "fluency_score": dose.fluency_score,
        "continuations": [
            {"prompt": text.prompt, "text": text.text} for text in dose.continuations
        ],
    }


def _score(score: Score | None, seed: int) -> dict[str, Any]:
    return (score or Score.undefined(seed)).to_dict()


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
