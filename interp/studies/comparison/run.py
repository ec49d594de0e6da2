"""compare(): the stages of a comparison, each resumable."""

from pathlib import Path

from interp.core import InputError, Progress, silent
from interp.core.files import write_json
from interp.core.plain import plain
from interp.corpus import load_concepts
from interp.models import TransformerModel, load_encoder, load_model
from interp.steering import OfflineJudge, fit_offline_judge
from interp.studies.comparison.detection import Bench, detection_part, fits_of
from interp.studies.comparison.effects import lift_part, side_effects_part
from interp.studies.comparison.parts import Parts
from interp.studies.comparison.protocol import (
    Comparison,
    ResolvedComparison,
    default_places,
    default_sites,
)
from interp.studies.comparison.result import ComparisonResult, JudgeRow
from interp.studies.comparison.steering import choose_concepts, entries_at, steering_part
from interp.studies.comparison.table import (
    control_rows,
    detection_rows,
    difference_rows,
    steering_rows,
)
from interp.studies.stages import require_language_model

RESULT = "comparison.json"


def compare(
    settings: Comparison, folder: str | Path, *, progress: Progress = silent
) -> ComparisonResult:
    """Compare decompositions of a language model: what they detect, and how they steer by their own
    directions and by companions.

    Dictionaries are fitted, and each concept's feature chosen, on the fit sentences; detection is
    scored on held-out ones. Then, place by place, all dictionaries steer with the same concepts at
    the same measured strengths, beside random directions and no steering; every direction's
    likelihood lift is compared with random directions'. The result goes to
    `folder/comparison.json`. The folder keeps every part: a stopped run resumes, with the same
    numbers.

    Raises:
        InputError: a setting does not fit the model, the folder holds another comparison, or the
            judge accepts no concept.
        UnavailableError: the weights cannot be had or the folder cannot be written.

    Cost: per dictionary one fit and two encodings; per place
    `(targets + random directions) × strengths × prompts` continuations, and
    `(targets + random directions) × sentences` forward passes from the place on.

    Example:
        >>> result = interp.compare(interp.Comparison(sites=("L5.mlp",)), "comparison")
        >>> [(row.method, row.route, row.report) for row in result.steering]
    """
    loaded = load_model(settings.model, progress=progress)
    model = require_language_model(loaded, settings.model, "comparisons steer language models")
    known = _resolved(settings, model)
    parts = Parts.of(folder, known)
    concepts = load_concepts().only(settings.concept_names)
    bench = Bench(model=model, concepts=concepts, settings=known, progress=progress)

    found = {fit: detection_part(bench, fit, parts) for fit in fits_of(known)}
    judge = fit_offline_judge(model, load_encoder(progress=progress), concepts, seed=settings.seed)
    chosen = choose_concepts(list(found.values()), judge.reliability.accepted, settings.concepts)
    if not chosen:
        raise InputError(
            "the judge accepts none of the concepts, so nothing can be steered towards; give "
            "concepts with more sentences"
        )
    steered, lifted, disturbed = [], [], []
    for place in bench.places:
        entries = entries_at(place, found, chosen, parts.folder)
        steered.append(steering_part(bench, place, entries, judge, parts))
        lifted.append(lift_part(bench, place, entries, chosen, parts))
        disturbed.append(side_effects_part(bench, place, entries, steered[-1], parts))

    result = ComparisonResult(
        settings=known,
        concepts=tuple(chosen),
        judge=_judge(judge),
        detection=detection_rows(found.values(), settings.seed),
        steering=steering_rows(steered, lifted, disturbed, settings.seed),
        controls=control_rows(steered),
        differences=difference_rows(steered, _equal_kl(known), settings.seed),
        judged=sum(part.judged for part in steered),
        failed=sum(part.failed for part in steered),
    )
    write_json(parts.folder / RESULT, plain(result))
    return result


def _resolved(settings: Comparison, model: TransformerModel) -> ResolvedComparison:
    sites = settings.sites or default_sites(model.n_layers)
    places = settings.places or default_places(model.n_layers)
    resolved = {
        "sites": tuple(map(model.sites.resolve, sites)),
        "places": tuple(map(model.sites.resolve, places)),
    }
    return ResolvedComparison(**vars(settings) | resolved, weight_hash=model.weight_hash)


def _judge(judge: OfflineJudge) -> JudgeRow:
    known = judge.reliability
    return JudgeRow(
        name=judge.name,
        auroc=known.auroc,
        accepted=known.accepted,
        refused={concept: known.by_concept[concept] for concept in known.refused},
    )


def _equal_kl(settings: Comparison) -> float:
    """The strength of paired differences: the lift's if steering used it, else the middle one."""
    strengths = sorted(settings.protocol.strengths)
    return settings.lift.kl if settings.lift.kl in strengths else strengths[len(strengths) // 2]
