"""The record that a page shows, from the results of a study of features."""

from collections.abc import Sequence
from dataclasses import replace

from interp.core import Score
from interp.decompose.matching import Matching
from interp.decompose.stability import Stability
from interp.detection import Detection
from interp.features import Feature, FeatureContext, Neighbour, TokenEffect
from interp.report.data import records
from interp.report.data.steering import feature_steering, rounded, steering_data
from interp.studies.features.result import FeaturesResult as Run
from interp.studies.features.result import MethodRun

SHOWN_CONTEXTS = 10
SHOWN_TOKENS = 12
CONCEPT_LABEL_AUROC = 0.85


def report_data(run: Run) -> records.Report:
    """A run as the record of its page and of `features.json`; coefficients have four digits."""
    provenance = run.acts.provenance
    return records.Report(
        schema=records.SCHEMA,
        title=f"What {run.acts.site} of {run.model} computes",
        model=records.Model(
            name=run.model,
            weight_hash=provenance.weight_hash,
            site=run.acts.site,
            companion_site=run.companion_site,
            source=run.source,
        ),
        corpus=records.Corpus(
            texts=len(run.acts.contexts.items),
            rows=len(run.acts),
            concepts=run.concepts,
            selection=provenance.selection or "",
        ),
        provenance={
            "activations": provenance.to_dict(),
            "dictionaries": {
                name: method.dictionary.provenance.to_dict() for name, method in run.methods.items()
            },
            "seed": run.seed,
            "seconds": round(run.seconds, 1),
        },
        methods=tuple(_method(name, method) for name, method in run.methods.items()),
        detection=_detection(run),
        judge=_judge(run),
        steering=steering_data(
            run.steering, {name: method.title for name, method in run.methods.items()}, run.seed
        ),
        features=tuple(
            _feature(feature, run) for method in run.methods.values() for feature in method.features
        ),
        matches=tuple(
            _match(*pair, matching, mean) for pair, (matching, mean) in run.matches.items()
        ),
        hierarchy=_hierarchy(run),
    )


def _match(first: str, second: str, matching: Matching, mean: Score) -> records.Match:
    partners = zip(matching.first, matching.second, matching.cosines, strict=True)
    pairs = tuple(
        records.Pair(
            first=f"{first}-{one}", second=f"{second}-{other}", cosine=rounded(float(cosine))
        )
        for one, other, cosine in sorted(partners, key=lambda pair: -abs(pair[2]))
    )
    return records.Match(first=first, second=second, pairs=pairs, mean_cosine=mean)


def _hierarchy(run: Run) -> records.Hierarchy | None:
    if run.hierarchy is None or run.tree is None:
        return None
    method = run.hierarchy.levels[0].method
    own = [
        _label(feature, _detection_of(feature, run))[0] for feature in run.methods[method].features
    ]
    return records.Hierarchy(
        method=method,
        levels=tuple(
            records.Level(features=tuple(records.LevelFeature(label=label) for label in level))
            for level in (own, *run.level_labels)
        ),
        branches=tuple(
            replace(branch, share=rounded(branch.share)) for branch in run.tree.branches
        ),
    )


def _method(name: str, run: MethodRun) -> records.Method:
    quality = run.reconstruction
    return records.Method(
        method=name,
        title=run.title,
        features=len(run.dictionary),
        explained_variance=quality.explained_variance,
        l0=quality.l0,
        direction_density=quality.direction_density,
        dead_fraction=quality.dead_fraction,
        seconds=float(run.dictionary.provenance.cost.get("seconds", 0.0)),
        stability=None if run.stability is None else _method_stability(run.stability),
    )


def _method_stability(found: Stability) -> records.MethodStability:
    return records.MethodStability(seeds=found.over_seeds, halves=found.over_halves)


def _feature_stability(found: Stability, index: int) -> records.FeatureStability:
    seeds, halves = (
        None if values is None else rounded(float(values[index]))
        for values in (found.seeds, found.halves)
    )
    control = rounded(float(found.control[index]))
    return records.FeatureStability(seeds=seeds, halves=halves, control=control)


def _detection(run: Run) -> records.Detection:
    concepts = [row.concept for row in next(iter(run.methods.values())).detections]
    return records.Detection(
        concepts=tuple(
            records.Concept(
                concept=concept,
                best=tuple(
                    _best(name, method.detections[number]) for name, method in run.methods.items()
                ),
            )
            for number, concept in enumerate(concepts)
        ),
        summary=tuple(
            records.Summary(
                method=name, concepts=len(run.methods[name].detections), good=good, mean_auroc=mean
            )
            for name, (good, mean) in run.summaries.items()
        ),
    )


def _best(name: str, row: Detection) -> records.Best:
    return records.Best(
        method=name,
        feature=None if name == "random" else row.feature,
        auroc=row.auroc,
        auroc_other_concepts=row.auroc_others,
        average_precision=row.average_precision,
        paper_score=row.paper_score,
    )


def _judge(run: Run) -> records.Judge:
    reliability = run.reliability
    return records.Judge(
        name=run.judge_name,
        auroc=reliability.auroc,
        accepted=reliability.accepted,
        refused=tuple(
            records.Refused(concept=concept, auroc=reliability.by_concept[concept])
            for concept in reliability.refused
        ),
        asked=run.steering.judged,
        failed=run.steering.failed,
    )


def _detection_of(feature: Feature, run: Run) -> Detection | None:
    """The concept that a feature was chosen for; of several, the best on the fit sentences."""
    rows = run.methods[feature.dictionary.method].detections
    chosen = [row for row in rows if row.feature == feature.index]
    return max(chosen, key=lambda row: row.chosen_on, default=None)


def _feature(feature: Feature, run: Run) -> records.Feature:
    method = feature.dictionary.method
    detection = _detection_of(feature, run)
    label, source, concept = _label(feature, detection)
    stability = run.methods[method].stability
    chance = run.near.control.get(feature.id)
    return records.Feature(
        id=feature.id,
        method=method,
        index=feature.index,
        label=label,
        label_source=source,
        concept=concept,
        firing_rate=feature.firing_rate,
        nonzero_neurons=feature.nonzero,
        stability=None if stability is None else _feature_stability(stability, feature.index),
        contexts=tuple(_context(context) for context in feature.contexts[:SHOWN_CONTEXTS]),
        promoted=_effects(feature.promoted),
        suppressed=_effects(feature.suppressed),
        detection=None if detection is None else _feature_detection(detection, run),
        steering=feature_steering(feature.id, run.steering.targets, run.seed),
        neighbours=tuple(_neighbour(one) for one in run.near.nearest.get(feature.id, ())),
        neighbour_control=None if chance is None else rounded(chance),
    )


def _label(feature: Feature, detection: Detection | None) -> tuple[str, str, str | None]:
    """The label, its source and the concept that a feature detects on the fit sentences, if any."""
    if detection is None or detection.chosen_on < CONCEPT_LABEL_AUROC:
        return feature.label, feature.label_source, None
    concept = detection.concept
    return f"{concept}: {feature.label}", "concept and distinctive words", concept


def _context(context: FeatureContext) -> FeatureContext:
    return replace(context, coefficients=tuple(rounded(value) for value in context.coefficients))


def _effects(effects: Sequence[TokenEffect]) -> tuple[TokenEffect, ...]:
    return tuple(replace(effect, logit=rounded(effect.logit)) for effect in effects[:SHOWN_TOKENS])


def _neighbour(found: Neighbour) -> Neighbour:
    together = found.coactivation
    return replace(
        found,
        cosine=rounded(found.cosine),
        coactivation=None if together is None else rounded(together),
    )


def _feature_detection(row: Detection, run: Run) -> records.FeatureDetection:
    random = next(
        other for other in run.methods["random"].detections if other.concept == row.concept
    )
    return records.FeatureDetection(
        concept=row.concept,
        auroc=row.auroc,
        auroc_other_concepts=row.auroc_others,
        average_precision=row.average_precision,
        control_random=random.auroc.value,
        control_shuffled=float(row.auroc.control or 0.0),
    )
