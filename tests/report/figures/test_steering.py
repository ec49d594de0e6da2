"""The figure of a steering evaluation is the one that its report would show."""

from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest
from displayed import BUILT, UNDEFINED, activations, dictionary, score

from interp.detection import Detection
from interp.report import METHOD_TITLES, MethodRun, Run, report_data
from interp.report.data.records import Report
from interp.report.figures.features import GREY, dose_response
from interp.report.figures.steering import steering_curves
from interp.steering import FamilyResult, Protocol, SteeringResult

CURVE = ((0.25, score(0.25, None)), (0.5, score(1.25, None)), (1.0, UNDEFINED))
FAMILIES = (
    FamilyResult(
        family="sae companion",
        method="sae",
        route="companion",
        site="L1.resid_post",
        curve=CURVE,
        report=score(1.25),
        minus_best_control=score(0.75),
        unreachable=0,
        is_control=False,
    ),
    FamilyResult(
        family="snmf native",
        method="snmf",
        route="native",
        site="L0.mlp",
        curve=CURVE[:2],
        report=score(0.25),
        minus_best_control=score(0.125),
        unreachable=1,
        is_control=False,
    ),
    FamilyResult(
        family="random dense at L0.mlp",
        method="random",
        route="random",
        site="L0.mlp",
        curve=CURVE[:1],
        report=score(0.0625),
        minus_best_control=None,
        unreachable=0,
        is_control=True,
    ),
    FamilyResult(
        family="no steering",
        method="unsteered",
        route="unsteered",
        site="",
        curve=((0.0, score(0.03125, None)),),
        report=score(0.03125),
        minus_best_control=None,
        unreachable=0,
        is_control=True,
    ),
)


@pytest.fixture
def result() -> SteeringResult:
    return SteeringResult(
        protocol=Protocol(),
        targets=(),
        controls=(),
        families=FAMILIES,
        unsteered=(),
        unsteered_scores={},
        judged=200,
        failed=5,
    )


def assembled(result: SteeringResult) -> Report:
    row = Detection(
        concept="sea",
        method="snmf",
        feature=1,
        auroc=score(0.875),
        auroc_others=score(0.75),
        average_precision=score(0.5),
        paper_score=None,
        chosen_on=0.9375,
    )
    methods = {
        name: MethodRun(
            title=METHOD_TITLES[name],
            dictionary=dictionary(name),
            reconstruction=BUILT["reconstruction"](name),
            detections=(row,),
            features=(),
        )
        for name in ("sae", "snmf", "random")
    }
    run = Run(
        model="a model",
        companion_site="L1.resid_post",
        acts=activations("t"),
        concepts=1,
        methods=methods,
        steering=result,
        judge_name="a judge",
        reliability=BUILT["reliability"]("sea"),
        seed=7,
        seconds=1.5,
    )
    return report_data(run)


def drawn(figure: go.Figure) -> dict[str, dict[str, Any]]:
    return {trace.name: trace.to_plotly_json() for trace in figure.data}


def test_it_is_the_reports_figure(result: SteeringResult) -> None:
    own, reports = steering_curves(result), dose_response(assembled(result))
    assert drawn(own) == drawn(reports)
    assert own.layout == reports.layout
    assert len(own.data) == 4
    assert own.layout.meta["caption"].endswith(
        "n = 40, seed 7. Grey: controls (random directions, no steering)."
    )


def test_it_shows_every_dose_with_its_interval_and_leaves_out_what_is_undefined(
    result: SteeringResult,
) -> None:
    traces = drawn(steering_curves(result))
    own = traces["SAE (top-k), companion at L1.resid_post"]
    assert list(own["y"]) == [0.25, 1.25]
    assert list(own["error_y"]["array"]) == [0.0625, 0.0625]
    assert [name for name, trace in traces.items() if trace["line"]["color"] == GREY] == [
        "no steering",
        "random dense at L0.mlp",
    ]


def test_nothing_evaluated_gives_an_empty_figure(result: SteeringResult) -> None:
    assert len(steering_curves(replace(result, families=())).data) == 0
