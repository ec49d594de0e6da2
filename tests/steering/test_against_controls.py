"""From judged cells to results, on scores written by hand: what is chosen where, and against which
control.
"""

import numpy as np
import pytest
import torch

from interp.steering import Judgement, Protocol, Target
from interp.steering.against_controls import against_controls
from interp.steering.generation import Cell, Continuation
from interp.steering.judged_texts import JudgedTexts

PROTOCOL = Protocol(
    strengths=(0.1, 0.2),
    selection_prompts=("s",),
    report_prompts=("r1", "r2"),
    samples=1,
    n_random=2,
)
TARGET = Target(
    family="own native",
    method="own",
    route="native",
    site="L0.mlp",
    direction=torch.ones(2),
    concept="sea",
    feature_id="own-0",
)
CONTROLS = [
    Target(
        family="random dense at L0.mlp",
        method="random",
        route="random",
        site="L0.mlp",
        direction=torch.ones(2),
        concept="",
        feature_id=f"random-{n}",
    )
    for n in range(2)
]
UNSTEERED = (0.5, 0.5, 0.5)
RANDOM = (((0.9, 0.2, 0.4), (0.1, 2.0, 2.0)), ((0.3, 0.1, 0.1), (0.8, 1.0, 0.8)))
NAN = float("nan")


def judgement(scores):
    """One in which concept and fluency are the score, so their harmonic mean is."""
    values = np.array(scores, dtype=float)
    return Judgement(values, values, np.isnan(values))


def table(target, random=RANDOM, unsteered=UNSTEERED):
    """Scores on (selection, report 1, report 2) of two doses each; None is a dose that was not
    reached.
    """
    groups = [
        (None, 0.0, unsteered),
        *(
            (n, kl, s)
            for n, own in enumerate([target, *random])
            for kl, s in zip((0.1, 0.2), own, strict=True)
        ),
    ]
    cells = [
        Cell(
            target=n,
            site="" if n is None else "L0.mlp",
            vector=torch.zeros(0),
            kl=kl,
            sign=1,
            alpha=kl,
            measured_kl=kl,
            reached=scores is not None,
        )
        for n, kl, scores in groups
    ]
    texts = [
        () if scores is None else tuple(Continuation(p, f"{p} {scores}") for p in ("s", "r1", "r2"))
        for _, _, scores in groups
    ]
    judged = {
        (number, "sea"): judgement(scores)
        for number, (_, _, scores) in enumerate(groups)
        if scores is not None
    }
    return JudgedTexts(protocol=PROTOCOL, cells=cells, texts=texts, judgements=judged, seed=0)


def result_of(target, **others):
    return against_controls(table(target, **others), [TARGET], CONTROLS)


def test_the_dose_is_chosen_on_selection_prompts_and_scored_on_report_prompts():
    (found,) = result_of(((0.5, 2.0, 2.0), (1.5, 1.2, 1.4))).targets
    assert found.chosen == 1, "the first dose would be better on the report prompts"
    assert found.report.value == pytest.approx(1.3)
    assert [dose.selection_score for dose in found.doses] == [0.5, 1.5]
    assert [text.prompt for text in found.doses[1].continuations] == ["r1", "r2"]


def test_controls_are_selected_alike_and_the_best_of_them_on_the_report_prompts_is_the_control():
    (found,) = result_of(((0.5, 2.0, 2.0), (1.5, 1.2, 1.4))).targets
    # Control 0 chose its first dose (report mean .3), not its second (2.0); control 1 its second
    # (.9); no steering has .5.
    assert found.control.value == pytest.approx(0.9)
    assert found.margin.value == pytest.approx(((1.2 - 1.0) + (1.4 - 0.8)) / 2)
    assert found.beats_control


def test_no_steering_is_the_control_where_it_is_better_than_random_directions():
    (found,) = result_of(((0.5, 2.0, 2.0), (1.5, 1.2, 1.4)), unsteered=(0.0, 1.3, 1.5)).targets
    assert found.control.value == pytest.approx(1.4)
    assert found.margin.value == pytest.approx(-0.1)
    assert not found.beats_control


def test_a_margin_whose_interval_holds_zero_does_not_beat_the_control():
    (found,) = result_of(((1.0, 2.0, 0.0), (0.0, 0.0, 0.0))).targets
    assert found.margin.value == pytest.approx(0.1)
    assert found.margin.low < 0 < found.margin.high
    assert not found.beats_control


def test_a_failure_is_left_out_and_never_scored_as_zero():
    result = result_of(((0.5, NAN, 2.0), (NAN, 2.0, 2.0)))
    (found,) = result.targets
    assert found.chosen == 0, "the second dose has no score on the selection prompts"
    assert (found.report.value, found.report.n) == (2.0, 1)
    assert found.margin.value == pytest.approx(2.0 - 0.8), "the pair with a failure is left out"
    assert (result.judged, result.failed) == (21, 2)


def test_a_target_whose_judgements_all_failed_has_no_report():
    result = result_of(((NAN,) * 3, (NAN,) * 3))
    assert (result.targets[0].chosen, result.targets[0].report, result.targets[0].margin) == (
        None,
        None,
        None,
    )
    assert result.failed == 6
    assert result.families[0].report is None


def test_all_judgements_failing_gives_no_numbers_and_no_error():
    nothing = (NAN,) * 3
    result = result_of((nothing, nothing), random=((nothing, nothing),) * 2, unsteered=nothing)
    assert result.failed == result.judged == 21
    assert [family.report for family in result.families] == [None, None, None]
    assert result.targets[0].control.to_dict()["value"] is None


def test_an_unreached_strength_is_counted_and_the_other_used():
    result = result_of((None, (1.5, 1.2, 1.4)))
    (found,) = result.targets
    assert found.unreachable == (0.1,)
    assert (found.chosen, len(found.doses)) == (1, 2)
    assert result.families[0].unreachable == 1
    assert [kl for kl, _ in result.families[0].curve] == [0.2]
    lost = result_of((None, None))
    assert (lost.targets[0].report, lost.families[0].unreachable, lost.families[0].curve) == (
        None,
        2,
        (),
    )


def test_families_hold_targets_controls_and_no_steering():
    own, random, nothing = result_of(((0.5, 2.0, 2.0), (1.5, 1.2, 1.4))).families
    assert [family.is_control for family in (own, random, nothing)] == [False, True, True]
    assert (own.family, own.method, own.route, own.site) == (
        "own native",
        "own",
        "native",
        "L0.mlp",
    )
    assert [(kl, score.value) for kl, score in own.curve] == [(0.1, 2.0), (0.2, pytest.approx(1.3))]
    assert random.report.value == pytest.approx((0.3 + 0.9) / 2)
    assert (nothing.family, nothing.report.value) == ("no steering", 0.5)
    assert own.minus_best_control.value == pytest.approx(0.4)
