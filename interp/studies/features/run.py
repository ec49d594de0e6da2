"""The study of one layer's features, stage by stage."""

import time
from collections.abc import Mapping
from functools import partial
from itertools import combinations
from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.capture import record
from interp.core import Activations, Progress, Score, silent
from interp.corpus import load_concepts
from interp.decompose import (
    Dictionary,
    DifferenceInMeans,
    Hierarchy,
    Stability,
    Unsupervised,
    fit_hierarchy,
    stability,
)
from interp.decompose.matching import Matching
from interp.detection import LabelledActivations, summarise
from interp.features import (
    Neighbourhood,
    companions,
    concept_means,
    concept_tree,
    describe,
    level_labels,
    neighbourhood,
    partners,
)
from interp.models import TransformerModel, load_encoder, load_model
from interp.steering import (
    OfflineJudge,
    SteeringResult,
    concepts_to_steer,
    evaluate_steering,
    fit_offline_judge,
    steering_targets,
)
from interp.studies.features.protocol import Settings, default_sites
from interp.studies.features.result import FeaturesResult, MethodRun
from interp.studies.methods import METHOD_TITLES, RANDOM, SUPERVISED
from interp.studies.stages import Measured, measure, record_split, require_language_model


def study_features(settings: Settings, *, progress: Progress = silent) -> FeaturesResult:
    """Find, describe and score the features of one layer of a language model.

    Record the site (and the companion site) on the texts; fit every method; describe the features;
    choose each concept's feature on the fit sentences and score its detection on held-out ones;
    steer with the features of the best-detected concepts, natively and by companion, beside
    difference in means, random directions and no steering.

    Raises:
        InputError: a setting does not fit the model or the texts.
        UnavailableError: the weights cannot be had.

    Cost: per method one fit and two encodings, then `(targets + random directions) × strengths ×
    prompts` continuations; five minutes on two CPU cores by default.

    Example:
        >>> result = study_features(interp.Settings(features=50))
        >>> result.steering
    """
    start = time.perf_counter()
    model = require_language_model(
        load_model(settings.model, progress=progress),
        settings.model,
        "the report describes language models",
    )
    site, elsewhere = sites = _sites(settings, model)
    concepts = load_concepts().only(settings.concept_names)
    fit = record_split(model, concepts, "fit", sites, progress)
    acts = (
        fit.acts
        if settings.texts is None
        else record(model, settings.texts, list(sites), progress=progress)
    )
    held_out = record_split(model, concepts, "held_out", (site,), progress)
    found = _found(settings, acts[site], fit.at(site), held_out.at(site), progress)
    described = {
        name: describe(
            own.dictionary, acts[site], model, coefficients=own.coefficients, progress=progress
        )
        for name, own in found.items()
        if name != RANDOM
    }

    judge = fit_offline_judge(model, load_encoder(progress=progress), concepts, seed=settings.seed)
    # What PCA finds is steered with only where it is all there is.
    steerers: list[str] = [name for name in settings.methods if name != "pca"]
    steerers = steerers or list(settings.methods)
    there = concept_means(fit.acts[elsewhere], fit.labels)
    away = {
        name: companions(
            found[name].dictionary,
            acts[site],
            acts[elsewhere],
            coefficients=found[name].coefficients,
        )
        for name in steerers
    }
    steering = _steered(
        settings, model, judge, found=found, away=away, there=there, progress=progress
    )
    stabilities = _stabilities(settings, acts[site], found)
    hierarchy = _hierarchy(settings, acts[site], found)
    shown = {name: found[name] for name, features in described.items() if features}
    return FeaturesResult(
        model=model.name,
        source=settings.model,
        companion_site=elsewhere,
        acts=acts[site],
        concepts=len(concepts),
        methods={
            name: MethodRun(
                **vars(own),
                title=METHOD_TITLES[name],
                features=described.get(name, ()),
                stability=stabilities.get(name),
            )
            for name, own in found.items()
        },
        steering=steering,
        judge_name=judge.name,
        reliability=judge.reliability,
        seed=settings.seed,
        companions={**away, SUPERVISED: there.directions},
        summaries={
            name: summarise(own.detections, seed=settings.seed) for name, own in found.items()
        },
        near=_near(shown, settings.seed),
        matches=_matches(shown, settings.seed),
        hierarchy=hierarchy,
        tree=None if hierarchy is None else concept_tree(hierarchy),
        level_labels=()
        if hierarchy is None
        else level_labels(hierarchy, acts[site], found["snmf"].coefficients),
        seconds=time.perf_counter() - start,
    )


def _sites(settings: Settings, model: TransformerModel) -> tuple[str, str]:
    site, elsewhere = default_sites(model)
    return (
        model.sites.resolve(settings.site or site),
        model.sites.resolve(settings.companion_site or elsewhere),
    )


def _found(
    settings: Settings,
    acts: Activations,
    fit: LabelledActivations,
    held_out: LabelledActivations,
    progress: Progress,
) -> dict[str, Measured]:
    """Every method, the supervised one and random directions, fitted and measured."""
    names, seed = (*settings.methods, SUPERVISED, RANDOM), settings.seed
    fitted = {
        name: settings.fitting.fit(name, acts, fit, settings.features, progress) for name in names
    }
    return {name: measure(own, acts, fit, held_out, seed=seed) for name, own in fitted.items()}


def _steered(
    settings: Settings,
    model: TransformerModel,
    judge: OfflineJudge,
    *,
    found: Mapping[str, Measured],
    away: Mapping[str, Float[Tensor, "feature d_site"]],
    there: DifferenceInMeans,
    progress: Progress,
) -> SteeringResult:
    """Steer with the best-detected concepts' features of the methods that have companions `away`,
    beside the supervised directions `there`.
    """
    detections = {name: own.detections for name, own in found.items()}
    fitted = {name: found[name].dictionary for name in away}
    chosen = concepts_to_steer(
        [detections[name] for name in away], judge.reliability.accepted, settings.steered_concepts
    )
    sites = found[SUPERVISED].dictionary.site, there.site
    return evaluate_steering(
        model,
        steering_targets(fitted, away, there, detections, chosen, sites),
        judge=judge,
        protocol=settings.protocol,
        seed=settings.seed,
        progress=progress,
    )


def _near(shown: Mapping[str, Measured], seed: int) -> Neighbourhood:
    dictionaries = {name: own.dictionary for name, own in shown.items()}
    codes = {name: own.coefficients for name, own in shown.items() if own.coefficients is not None}
    return neighbourhood(dictionaries, codes, seed=seed)


def _matches(
    shown: Mapping[str, Measured], seed: int
) -> dict[tuple[str, str], tuple[Matching, Score]]:
    """Partners of every two methods; the sign of a principal component means nothing."""
    return {
        pair: partners(
            *(shown[name].dictionary for name in pair), signed="pca" not in pair, seed=seed
        )
        for pair in combinations(shown, 2)
    }


def _hierarchy(
    settings: Settings, acts: Activations, found: Mapping[str, Measured]
) -> Hierarchy | None:
    """The semi-NMF features' directions factored into half as many, and those again."""
    sizes = [settings.features // share for share in (1, 2, 4)]
    sizes = [size for size in sizes if size > 1]
    if "snmf" not in found or len(set(sizes)) < 2:
        return None

    def fit(rows: Any, size: int) -> Dictionary:
        if rows is acts:
            return found["snmf"].dictionary
        return settings.fitting.unsupervised("snmf", rows, size)

    return fit_hierarchy(acts, fit, sizes)


def _stabilities(
    settings: Settings, acts: Activations, found: Mapping[str, Measured]
) -> dict[str, Stability]:
    """How well each method finds its features again; empty unless requested."""

    def refit(method: Unsupervised, rows: Any, seed: int) -> Dictionary:
        return settings.fitting.unsupervised(method, rows, settings.features, seed=seed)

    return {
        method: stability(
            partial(refit, method),
            acts,
            found[method].dictionary,
            seeds=settings.stability,
            signed=method != "pca",
            seed=settings.seed,
        )
        for method in settings.methods
        if settings.stability
    }
