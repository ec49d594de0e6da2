"""compare(): methods by layers by sizes, resumable, into one table and one page's data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from interp.core import InputError, Progress, silent
from interp.core.files import write_json
from interp.corpus import load_concepts
from interp.models import TransformerModel, load_encoder, load_model
from interp.steering import Lift, OfflineJudge, fit_offline_judge, likelihood_lift, side_effects
from interp.studies.comparison.finding import Bench, find, fits_of
from interp.studies.comparison.parts import Parts
from interp.studies.comparison.protocol import Comparison, default_places, default_sites
from interp.studies.comparison.result import Compared
from interp.studies.comparison.steering import Entry, choose_concepts, entries_at, steered
from interp.studies.comparison.table import (
    control_rows,
    detection_rows,
    difference_rows,
    steering_rows,
)

RESULT = "comparison.json"


def compare(settings: Comparison, folder: str | Path, *, progress: Progress = silent) -> Compared:
    """Compare decompositions of a language model: what they detect, and how they steer by their own
    directions and by companions.

    Every dictionary is fitted on the fit sentences; each concept's feature is chosen there;
    detection is scored on held-out sentences. Then, place by place, all dictionaries steer with the
    same concepts at the same measured strengths, beside random directions and no steering, and the
    likelihood lift of every direction is set against random directions. The result is written to
    `folder/comparison.json` and returned. Every part is kept in the folder: a run that was stopped
    goes on where it was, with the same numbers.

    Raises:
        InputError: a setting does not fit the model, the folder holds another comparison, or the
            judge accepts no concept.
        UnavailableError: the weights cannot be had or the folder cannot be written.

    Cost: per dictionary one fit and two encodings; per place
    `(targets + random directions) × strengths × prompts` continuations, and
    `(targets + random directions) × sentences` forward passes from the place on.

    Example:
        >>> result = interp.compare(interp.Comparison(sites=("L5.mlp",)), "comparison")
        >>> [(row["method"], row["route"], row["report"]) for row in result["steering"]]
    """
    model = load_model(settings.model, progress=progress)
    if not isinstance(model, TransformerModel):
        raise InputError(
            f"{settings.model!r} is not a language model; comparisons steer language models"
        )
    sites = tuple(
        model.sites.resolve(site) for site in settings.sites or default_sites(model.n_layers)
    )
    places = tuple(
        model.sites.resolve(place) for place in settings.places or default_places(model.n_layers)
    )
    description = settings.to_dict() | {
        "sites": sites,
        "places": places,
        "weight_hash": model.weight_hash,
    }
    parts = Parts.of(folder, description)
    bench = Bench(
        model=model,
        concepts=load_concepts().only(settings.concept_names),
        sites=sites,
        places=places,
        settings=settings,
        progress=progress,
    )
    fits = fits_of(settings, sites, places)
    found = {fit: find(bench, fit, parts) for fit in fits}
    judge = fit_offline_judge(
        model, load_encoder(progress=progress), bench.concepts, seed=settings.seed
    )
    concepts = choose_concepts(list(found.values()), judge.reliability.accepted, settings.concepts)
    if not concepts:
        raise InputError(
            "the judge accepts none of the concepts, so nothing can be steered towards; give "
            "concepts with more sentences"
        )
    measured, lifted, disturbed = [], [], []
    for place in dict.fromkeys((*sites, *places)):
        entries = entries_at(place, fits, found, concepts, parts.folder)
        measured.append(_steering(parts, place, bench, entries, judge))
        lifted.append(_lift(parts, place, bench, entries, concepts))
        disturbed.append(_disturbance(parts, place, bench, entries, measured[-1]))
    result = {
        "schema": 1,
        "settings": description,
        "concepts": concepts,
        "judge": _judge(judge),
        "detection": detection_rows([found[fit] for fit in fits], settings.seed),
        "steering": steering_rows(measured, lifted, disturbed, settings.seed),
        "controls": control_rows(measured),
        "differences": difference_rows(measured, _equal_kl(settings), settings.seed),
        "judged": sum(part["judged"] for part in measured),
        "failed": sum(part["failed"] for part in measured),
    }
    write_json(parts.folder / RESULT, result)
    return Compared(result)


def _steering(
    parts: Parts, place: str, bench: Bench, entries: Sequence[Entry], judge: OfflineJudge
) -> dict[str, Any]:
    return dict(
        parts.get(
            f"steering-{place}",
            lambda: steered(bench.model, entries, judge, bench.settings, bench.progress),
        )
    )


def _lift(
    parts: Parts, place: str, bench: Bench, entries: Sequence[Entry], chosen: Sequence[str]
) -> dict[str, Any]:
    sentences = {
        concept.name: concept.held_out
        for concept in bench.concepts.concepts
        if concept.name in chosen
    }

    def make() -> dict[str, Any]:
        how = bench.settings.lift
        result = likelihood_lift(
            bench.model,
            [entry.target for entry in entries],
            sentences,
            bench.concepts.neutral.held_out,
            kl=how.kl,
            n_random=how.n_random,
            n_sentences=how.concept_sentences,
            n_neutral=how.other_sentences,
            n_tokens=how.tokens,
            seed=bench.settings.seed,
            progress=bench.progress,
        )
        return {
            "place": place,
            "targets": [
                _lifted(entry, lift) for entry, lift in zip(entries, result.lifts, strict=True)
            ],
        }

    return dict(parts.get(f"lift-{place}", make))


def _disturbance(
    parts: Parts, place: str, bench: Bench, entries: Sequence[Entry], measured: Mapping[str, Any]
) -> dict[str, Any]:
    """What each entry does to ordinary text at the strength that was chosen for it; entries without
    one are left out.
    """
    texts = bench.concepts.neutral.held_out[: bench.settings.lift.other_sentences]
    chosen = [
        (entry, row)
        for entry, row in zip(entries, measured["targets"], strict=True)
        if row["alpha"] is not None
    ]

    def make() -> dict[str, Any]:
        vectors = [
            row["sign"]
            * row["alpha"]
            * torch.nn.functional.normalize(entry.target.direction, dim=0)
            for entry, row in chosen
        ]
        effects = side_effects(
            bench.model,
            place,
            torch.stack(vectors),
            texts,
            seed=bench.settings.seed,
            progress=bench.progress,
        )
        return {
            "place": place,
            "targets": [
                {
                    **entry.described(),
                    "kl": effect.kl.to_dict(),
                    "perplexity_ratio": effect.perplexity_ratio.to_dict(),
                }
                for (entry, _), effect in zip(chosen, effects, strict=True)
            ],
        }

    return dict(
        parts.get(
            f"side-effects-{place}", make if chosen else lambda: {"place": place, "targets": []}
        )
    )


def _lifted(entry: Entry, lift: Lift) -> dict[str, Any]:
    return {
        **entry.described(),
        "lift": None if lift.score is None else lift.score.to_dict(),
        "percentile": lift.percentile if lift.reached else None,
        "n_random": lift.n_random,
    }


def _judge(judge: OfflineJudge) -> dict[str, Any]:
    reliability = judge.reliability
    return {
        "name": judge.name,
        "auroc": reliability.auroc.to_dict(),
        "accepted": list(reliability.accepted),
        "refused": {concept: reliability.by_concept[concept] for concept in reliability.refused},
    }


def _equal_kl(settings: Comparison) -> float:
    """The strength at which ways of steering are compared in pairs: the lift's where steering was
    measured there, else the middle one.
    """
    strengths = sorted(settings.protocol.strengths)
    return settings.lift.kl if settings.lift.kl in strengths else strengths[len(strengths) // 2]
