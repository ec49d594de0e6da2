"""The records that pages show of steering, from its results."""

from collections.abc import Mapping, Sequence

from interp.core import Score
from interp.report.data import records
from interp.steering import Dose, FamilyResult, SteeringResult, TargetResult


def steering_data(result: SteeringResult, titles: Mapping[str, str], seed: int) -> records.Steering:
    """A steering evaluation as a page shows it; `titles` name its methods."""
    protocol = result.protocol
    return records.Steering(
        prompts_selection=protocol.selection_prompts,
        prompts_report=protocol.report_prompts,
        strengths_kl=protocol.strengths,
        samples=protocol.samples,
        max_new_tokens=protocol.sampling.max_new_tokens,
        unsteered=records.Unsteered(score=result.unsteered_scores, continuations=result.unsteered),
        families=tuple(family_data(family, titles, seed) for family in result.families),
    )


def family_data(family: FamilyResult, titles: Mapping[str, str], seed: int = 0) -> records.Family:
    """A steering family as a page shows it; `titles` name its methods, `seed` is that of undefined
    scores.
    """
    return records.Family(
        family=family.family.replace(" ", "-"),
        title=_family_title(family, titles),
        method=family.method,
        route=family.route,
        site=family.site,
        control=family.is_control,
        curve=tuple(records.Point(kl=kl, score=score) for kl, score in family.curve),
        report=_score(family.report, seed),
        minus_best_control=family.minus_best_control,
        unreachable=family.unreachable,
        n=0 if family.report is None else family.report.n,
    )


def _family_title(family: FamilyResult, titles: Mapping[str, str]) -> str:
    if family.method not in titles or family.route not in ("native", "companion"):
        return family.family
    how = ", own direction" if family.route == "native" else ", companion"
    supervised = family.method == "difference_in_means"
    return f"{titles[family.method]}{'' if supervised else how} at {family.site}"


def feature_steering(
    feature: str, targets: Sequence[TargetResult], seed: int
) -> records.FeatureSteering | None:
    """Every route by which the feature of an id was steered; None where it was not."""
    results = [
        one for one in targets if one.target.feature_id == feature and one.chosen is not None
    ]
    if not results:
        return None
    return records.FeatureSteering(
        concept=results[0].target.concept, routes=tuple(_route(result, seed) for result in results)
    )


def _route(result: TargetResult, seed: int) -> records.Route:
    assert result.chosen is not None
    chosen = result.doses[result.chosen]
    return records.Route(
        route=result.target.route,
        site=result.target.site,
        dose=tuple(_dose(dose, dose.score) for dose in result.doses if dose.score is not None),
        chosen=records.Chosen(kl=chosen.kl, sign=chosen.sign),
        report=_score(result.report, seed),
        control=result.control,
        beats_control=result.beats_control,
        lift=None,
        unreachable=tuple(result.unreachable),
    )


def _dose(dose: Dose, score: Score) -> records.Dose:
    return records.Dose(
        kl=dose.kl,
        measured_kl=rounded(dose.measured_kl),
        alpha=rounded(dose.alpha),
        sign=dose.sign,
        score=score,
        concept_score=dose.concept_score,
        fluency_score=dose.fluency_score,
        continuations=dose.continuations,
    )


def _score(score: Score | None, seed: int) -> Score:
    return score or Score.undefined(seed)


def rounded(value: float) -> float:
    """A number to four digits, as pages hold it."""
    return float(f"{value:.4g}")
