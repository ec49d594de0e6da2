"""From judged cells to results: each target's chosen dose, its margin over the best control, and
means of families.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from interp.core import Score, bootstrap_mean
from interp.steering.judged_texts import JudgedTexts
from interp.steering.results import Dose, FamilyResult, SteeringResult, TargetResult
from interp.steering.targets import Target


def against_controls(
    table: JudgedTexts, targets: Sequence[Target], controls: Sequence[Target]
) -> SteeringResult:
    """Results of all targets and controls; cell 0 is no steering, the others number targets first,
    then controls.
    """
    concepts = list(dict.fromkeys(target.concept for target in targets))
    own: dict[int, list[int]] = {}
    for position, cell in enumerate(table.cells):
        if cell.target is not None:
            own.setdefault(cell.target, []).append(position)
    unsteered = {concept: table.dose(0, concept) for concept in concepts}
    random = {
        concept: [
            _chosen(table, own[len(targets) + number], control, concept)
            for number, control in enumerate(controls)
        ]
        for concept in concepts
    }
    results = tuple(
        _with_margin(
            _chosen(table, own[number], target, target.concept),
            _best_control(target.site, random[target.concept], unsteered[target.concept]),
            table.seed,
        )
        for number, target in enumerate(targets)
    )
    flat = tuple(
        replace(result, control=unsteered[concept].score or result.control)
        for concept in concepts
        for result in random[concept]
    )
    return SteeringResult(
        protocol=table.protocol,
        targets=results,
        controls=flat,
        families=_families([*results, *flat], unsteered.values(), table),
        unsteered=unsteered[concepts[0]].continuations,
        unsteered_scores={
            concept: dose.score for concept, dose in unsteered.items() if dose.score is not None
        },
        judged=table.judged,
        failed=table.failed,
    )


def _chosen(table: JudgedTexts, cells: Sequence[int], target: Target, concept: str) -> TargetResult:
    """A target's doses for a concept; of those judged on both sets of prompts, the best on the
    selection prompts is chosen.
    """
    doses = tuple(table.dose(cell, concept) for cell in cells)
    usable = [
        number
        for number, dose in enumerate(doses)
        if dose.score is not None and not np.isnan(dose.selection_score)
    ]
    chosen = max(usable, key=lambda number: doses[number].selection_score) if usable else None
    return TargetResult(
        target=replace(target, concept=concept),
        doses=doses,
        chosen=chosen,
        control=Score.undefined(table.seed),
        margin=None,
    )


def _best_control(site: str, random: Sequence[TargetResult], unsteered: Dose) -> Dose:
    """The highest score on the report prompts: of a random direction at the site or no steering."""
    chosen = [
        result.doses[result.chosen]
        for result in random
        if result.target.site == site and result.chosen is not None
    ]
    return max([unsteered, *chosen], key=lambda dose: dose.score.value if dose.score else -1.0)


def _with_margin(result: TargetResult, control: Dose, seed: int) -> TargetResult:
    result = replace(result, control=control.score or Score.undefined(seed))
    if result.chosen is None:
        return result
    # Texts are paired: same prompt, same sample, same random numbers.
    difference = result.doses[result.chosen].values - control.values
    kept = difference[~np.isnan(difference)]
    return replace(result, margin=bootstrap_mean(kept, seed=seed) if len(kept) else None)


def _families(
    results: Sequence[TargetResult], unsteered: Iterable[Dose], table: JudgedTexts
) -> tuple[FamilyResult, ...]:
    names = dict.fromkeys(result.target.family for result in results)
    families = [
        _family([result for result in results if result.target.family == name], table)
        for name in names
    ]
    plain = _mean((dose.score for dose in unsteered), table.seed)
    curve = () if plain is None else tuple((kl, plain) for kl in table.protocol.strengths)
    return (
        *families,
        FamilyResult(
            family="no steering",
            method="none",
            route="unsteered",
            site="",
            curve=curve,
            report=plain,
            minus_best_control=None,
            unreachable=0,
            is_control=True,
        ),
    )


def _family(members: Sequence[TargetResult], table: JudgedTexts) -> FamilyResult:
    first, seed = members[0].target, table.seed
    doses = [dose for result in members for dose in result.doses]
    at = {
        kl: _mean((dose.score for dose in doses if dose.kl == kl), seed)
        for kl in table.protocol.strengths
    }
    return FamilyResult(
        family=first.family,
        method=first.method,
        route=first.route,
        site=first.site,
        curve=tuple((kl, mean) for kl, mean in at.items() if mean is not None),
        report=_mean((result.report for result in members), seed),
        minus_best_control=_mean((result.margin for result in members), seed),
        unreachable=sum(len(result.unreachable) for result in members),
        is_control=first.route == "random",
    )


def _mean(scores: Iterable[Score | None], seed: int) -> Score | None:
    values = np.array([score.value for score in scores if score is not None])
    return bootstrap_mean(values, seed=seed) if len(values) else None
