"""The main job: from a pretrained language model to a feature report. One function, stage by
stage.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from interp.capture import record
from interp.core import Activations, InputError, Progress, silent
from interp.core.files import require_writable
from interp.corpus import LabelledTexts, labelled, load_concepts
from interp.decompose import (
    Dictionary,
    Hierarchy,
    Stability,
    Unsupervised,
    fit_hierarchy,
    fit_unsupervised,
    random_dictionary,
    reconstruction,
    save_dictionary,
    stability,
)
from interp.detection import LabelledActivations, detect
from interp.features import companions, concept_means, describe
from interp.models import TransformerModel, load_encoder, load_model
from interp.report import METHOD_TITLES, MethodRun, Run, report_data, write_report
from interp.report.live.directions import COMPANIONS, save_companions
from interp.steering import (
    concepts_to_steer,
    evaluate_steering,
    fit_offline_judge,
    steering_targets,
)
from interp.studies.features.protocol import Settings, default_sites


def main_job(settings: Settings, folder: str | Path, *, progress: Progress = silent) -> Path:
    """Find, describe and score the features of one layer of a language model, and write a page
    about them; returns the page's path.

    Record the site (and the companion site) on the texts; fit every method; describe the features;
    choose each concept's feature on the fit sentences and score its detection on held-out ones;
    steer with the features of the best-detected concepts, natively and by companion, beside
    difference in means, random directions and no steering; write the page, its data and the
    dictionaries.

    Raises:
        InputError: a setting does not fit the model or the texts.
        UnavailableError: the weights cannot be had or the folder cannot be written.
    """
    start = time.perf_counter()
    target = require_writable(Path(folder))
    model, site, elsewhere = _open(settings, progress)
    concepts = load_concepts().only(settings.concept_names)
    fit, held_out = labelled(concepts, "fit"), labelled(concepts, "held_out")
    known = record(model, fit.texts, [site, elsewhere], progress=progress)
    acts = (
        known
        if settings.texts is None
        else record(model, settings.texts, [site, elsewhere], progress=progress)
    )
    unseen = LabelledActivations(
        record(model, held_out.texts, site, progress=progress), held_out.labels
    )
    on_fit = LabelledActivations(known[site], fit.labels)
    dictionaries = _fit(settings, acts[site], known[site], fit, progress)
    codes, codes_unseen = (
        {name: one.encode(rows) for name, one in dictionaries.items()}
        for rows in (acts[site], unseen.acts)
    )
    codes_known = (
        codes
        if acts is known
        else {name: one.encode(known[site]) for name, one in dictionaries.items()}
    )
    described = {name: one for name, one in dictionaries.items() if name != "random"}
    features = {
        name: describe(one, acts[site], model, coefficients=codes[name], progress=progress)
        for name, one in described.items()
    }
    found = {
        name: detect(
            one,
            on_fit,
            unseen,
            coefficients=(codes_known[name], codes_unseen[name]),
            seed=settings.seed,
        )
        for name, one in dictionaries.items()
    }
    judge = fit_offline_judge(model, load_encoder(progress=progress), concepts, seed=settings.seed)
    steerers: list[str] = [method for method in settings.methods if method != "pca"] or list(
        settings.methods
    )
    chosen = concepts_to_steer(
        [found[name] for name in steerers], judge.reliability.accepted, settings.steered_concepts
    )
    there = concept_means(known[elsewhere], fit.labels)
    steering_with = {name: dictionaries[name] for name in steerers}
    away = {
        name: companions(one, acts[site], acts[elsewhere], coefficients=codes[name])
        for name, one in steering_with.items()
    }
    targets = steering_targets(steering_with, away, there, found, chosen, (site, elsewhere))
    steering = evaluate_steering(
        model,
        targets,
        judge=judge,
        protocol=settings.protocol,
        seed=settings.seed,
        progress=progress,
    )
    stabilities = _stabilities(settings, acts[site], dictionaries)
    methods = {
        name: MethodRun(
            title=METHOD_TITLES[name],
            dictionary=dictionary,
            reconstruction=reconstruction(
                dictionary, unseen.acts, coefficients=codes_unseen[name], seed=settings.seed
            ),
            detections=found[name],
            features=features.get(name, ()),
            stability=stabilities.get(name),
            coefficients=codes[name],
        )
        for name, dictionary in dictionaries.items()
    }
    seconds = time.perf_counter() - start
    broader = _broader(settings, acts[site], dictionaries)
    run = Run(
        model=model.name,
        companion_site=elsewhere,
        acts=acts[site],
        concepts=len(concepts),
        methods=methods,
        steering=steering,
        judge_name=judge.name,
        reliability=judge.reliability,
        seed=settings.seed,
        seconds=seconds,
        hierarchy=broader,
        source=settings.model,
    )
    for name, dictionary in described.items():
        save_dictionary(dictionary, target / "dictionaries" / name)
    save_companions(
        target / COMPANIONS, {**away, "difference_in_means": there.directions}, elsewhere
    )
    if broader is not None:
        broader.save(target / "hierarchy")
    return write_report(report_data(run), target)


def _open(settings: Settings, progress: Progress) -> tuple[TransformerModel, str, str]:
    model = load_model(settings.model, progress=progress)
    if not isinstance(model, TransformerModel):
        raise InputError(
            f"{settings.model!r} is not a language model; the report describes language models"
        )
    site, elsewhere = default_sites(model)
    site, elsewhere = (
        model.sites.resolve(settings.site or site),
        model.sites.resolve(settings.companion_site or elsewhere),
    )
    return model, site, elsewhere


def _fit(
    settings: Settings,
    acts: Activations,
    known: Activations,
    fit: LabelledTexts,
    progress: Progress,
) -> dict[str, Dictionary]:
    """Every method on the same rows; difference in means is supervised and uses the labelled
    sentences.
    """
    fitted = {
        str(method): _fit_one(settings, method, acts, settings.seed, progress)
        for method in settings.methods
    }
    fitted["difference_in_means"] = concept_means(known, fit.labels)
    fitted["random"] = random_dictionary(acts, settings.features, seed=settings.seed)
    return fitted


def _fit_one(
    settings: Settings, method: Unsupervised, acts: Any, seed: int, progress: Progress = silent
) -> Dictionary:
    return fit_unsupervised(
        method,
        acts,
        settings.features,
        sparsity=settings.sparsity,
        coefficient_sparsity=settings.coefficient_sparsity,
        seed=seed,
        progress=progress,
    )


def _broader(
    settings: Settings, acts: Activations, fitted: Mapping[str, Dictionary]
) -> Hierarchy | None:
    """The semi-NMF features' directions factored into half as many, and those again: which features
    belong together.
    """
    sizes = [
        size
        for size in (settings.features, settings.features // 2, settings.features // 4)
        if size > 1
    ]
    if "snmf" not in fitted or len(set(sizes)) < 2:
        return None

    def fit(rows: Any, size: int) -> Dictionary:
        return (
            fitted["snmf"]
            if rows is acts
            else _fit_one(replace(settings, features=size), "snmf", rows, settings.seed)
        )

    return fit_hierarchy(acts, fit, sizes)


def _stabilities(
    settings: Settings, acts: Activations, fitted: Mapping[str, Dictionary]
) -> dict[str, Stability]:
    """How far each method finds its features again, where it was asked for: from other seeds, and
    on halves of the texts.
    """
    count, seed = settings.stability, settings.seed
    fits = {method: partial(_fit_one, settings, method) for method in settings.methods if count}
    return {
        method: stability(fit, acts, fitted[method], seeds=count, signed=method != "pca", seed=seed)
        for method, fit in fits.items()
    }
