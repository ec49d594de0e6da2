"""The table of a comparison, from parts whose differences are known."""

import math

from interp.core import Score
from interp.decompose import Reconstruction
from interp.studies.comparison.records import (
    Detected,
    DetectionPart,
    DoseScores,
    Lifted,
    LiftPart,
    Steered,
    SteeringPart,
)
from interp.studies.comparison.result import Difference
from interp.studies.comparison.steering import choose_concepts
from interp.studies.comparison.table import difference_rows, steering_rows

CONCEPTS = ("cooking", "football", "sea", "weather")


def score(value: float) -> Score:
    return Score(value, value, value, n=4, seed=0)


def target(method: str, site: str, place: str, concept: str, level: float) -> Steered:
    """Texts that score `level` plus something that only the concept and the text decide."""
    values = tuple(level + 0.1 * CONCEPTS.index(concept) + 0.05 * text for text in range(3))
    return Steered(
        site=site,
        method=method,
        size=None if method == "difference_in_means" else 100,
        route="native" if site == place else "companion",
        place=place,
        concept=concept,
        feature=0,
        kl=0.5,
        sign=1,
        alpha=1.0,
        report=score(sum(values) / 3),
        control=score(0.0),
        margin=score(level),
        beats_control=level > 0.5,
        unreachable=(),
        curve=(DoseScores(kl=0.5, sign=1, score=score(sum(values) / 3), values=values),),
        texts=(),
    )


def place(name: str, ways: list[tuple[str, str, float]]) -> SteeringPart:
    targets = tuple(
        target(method, site, name, concept, level)
        for method, site, level in ways
        for concept in CONCEPTS
    )
    return SteeringPart(place=name, targets=targets, controls=(), unsteered={}, judged=0, failed=0)


MLP = place(
    "L5.mlp",
    [("snmf", "L5.mlp", 0.2), ("sae", "L5.mlp", 0.1), ("difference_in_means", "L5.mlp", 0.3)],
)
RESIDUAL = place(
    "L9.resid_post",
    [
        ("snmf", "L5.mlp", 0.9),
        ("sae", "L5.mlp", 1.0),
        ("difference_in_means", "L5.mlp", 1.1),
        ("difference_in_means", "L9.resid_post", 1.2),
    ],
)


def difference(
    rows: tuple[Difference, ...], first: tuple[str, str], second: tuple[str, str]
) -> Score:
    (found,) = [
        row
        for row in rows
        if (row.first.method, row.first.place) == first
        and (row.second.method, row.second.place) == second
    ]
    return found.difference


def test_a_constant_shift_between_ways_is_found_without_spread() -> None:
    rows = difference_rows([MLP, RESIDUAL], 0.5, 0)
    for first, second, expected in (
        (("snmf", "L9.resid_post"), ("snmf", "L5.mlp"), 0.7),
        (("snmf", "L9.resid_post"), ("difference_in_means", "L9.resid_post"), -0.3),
        (("snmf", "L9.resid_post"), ("sae", "L9.resid_post"), -0.1),
        (("sae", "L5.mlp"), ("difference_in_means", "L5.mlp"), -0.2),
    ):
        found = difference(rows, first, second)
        assert abs(found.value - expected) < 1e-9
        assert found.high - found.low < 1e-9, "pairing takes out what concept and text decide"


def test_a_strength_that_was_not_steered_at_has_no_differences() -> None:
    assert difference_rows([MLP, RESIDUAL], 0.25, 0) == ()


def test_rows_are_means_over_concepts_beside_their_lift() -> None:
    lifted = tuple(
        Lifted(**vars(part.way), concept=part.concept, lift=score(0.2), percentile=90.0, n_random=5)
        for part in MLP.targets
    )
    rows = steering_rows([MLP, RESIDUAL], [LiftPart("L5.mlp", lifted)], [], 0)
    assert len(rows) == 7
    first = rows[0]
    assert (first.method, first.place, first.n, first.beat_control) == ("snmf", "L5.mlp", 4, 0)
    assert first.report is not None
    assert first.lift_percentile is not None
    assert abs(first.report.value - 0.4) < 1e-9
    assert first.report.low < 0.4 < first.report.high, "the interval is over concepts"
    assert first.lift_percentile.value == 90
    assert rows[-1].lift_percentile is None


def test_concepts_are_chosen_by_all_dictionaries_on_the_fit_sentences() -> None:
    def found(method: str, **chosen_on: float) -> DetectionPart:
        undefined = score(math.nan)
        rows = (
            Detected(
                concept=name, feature=0, chosen_on=value, auroc=undefined, auroc_others=undefined
            )
            for name, value in chosen_on.items()
        )
        return DetectionPart(
            site="L5.mlp",
            method=method,
            size=100,
            reconstruction=Reconstruction(undefined, 0.0, 0.0, 0.0),
            seconds=0.0,
            detections=tuple(rows),
        )

    parts = [
        found("snmf", a=0.9, b=0.8, c=0.5),
        found("sae", a=0.5, b=0.9, c=0.7),
        found("random", a=1.0, b=0.0, c=1.0),
    ]
    assert choose_concepts(parts, ("a", "b", "c"), 2) == ["b", "a"]
    assert choose_concepts(parts, ("a", "c"), 2) == ["a", "c"]
