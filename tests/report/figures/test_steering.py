"""The figure of a steering evaluation is the one that its report would show."""

from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest
from displayed import BUILT, UNDEFINED, activations, dictionary, score

from interp.detection import Detection
from interp.report import METHOD_TITLES, MethodRun, Run, report_data
from interp.report.figures.features import GREY, dose_response
from interp.report.figures.steering import steering_curves
from interp.steering import FamilyResult, Protocol, SteeringResult

CURVE = ((0.25, score(0.25, None)), (0.5, score(1.25, None)), (1.0, UNDEFINED))
FAMILIES = (
    FamilyResult("sae companion", "sae", "companion", "L1.resid_post", CURVE, score(1.25), score(0.75), 0, False),
    FamilyResult("snmf native", "snmf", "native", "L0.mlp", CURVE[:2], score(0.25), score(0.125), 1, False),
    FamilyResult("random dense at L0.mlp", "random", "random", "L0.mlp", CURVE[:1], score(0.0625), None, 0, True),
    FamilyResult("no steering", "unsteered", "unsteered", "", ((0.0, score(0.03125, None)),), score(0.03125), None, 0, True),
)


@pytest.fixture
def result() -> SteeringResult:
    return SteeringResult(Protocol(), (), (), FAMILIES, (), {}, 200, 5)


def assembled(result: SteeringResult) -> dict[str, Any]:
    row = Detection("sea", "snmf", 1, score(0.875), score(0.75), score(0.5), None, 0.9375)
    methods = {
        name: MethodRun(METHOD_TITLES[name], dictionary(name), BUILT["reconstruction"](name), (row,), ())
        for name in ("sae", "snmf", "random")
    }
    run = Run("a model", "L1.resid_post", activations("t"), 1, methods, result, "a judge", BUILT["reliability"]("sea"), 7, 1.5)
    return report_data(run)


def drawn(figure: go.Figure) -> dict[str, dict[str, Any]]:
    return {trace.name: trace.to_plotly_json() for trace in figure.data}


def test_it_is_the_reports_figure(result: SteeringResult) -> None:
    own, reports = steering_curves(result), dose_response(assembled(result))
    assert drawn(own) == drawn(reports)
    assert own.layout == reports.layout
    assert len(own.data) == 4
    assert own.layout.meta["caption"].endswith("n = 40, seed 7. Grey: controls (random directions, no steering).")


def test_it_shows_every_dose_with_its_interval_and_leaves_out_what_is_undefined(result: SteeringResult) -> None:
    traces = drawn(steering_curves(result))
    own = traces["SAE (top-k), companion at L1.resid_post"]
    assert list(own["y"]) == [0.25, 1.25]
    assert list(own["error_y"]["array"]) == [0.0625, 0.0625]
    assert [name for name, trace in traces.items() if trace["line"]["color"] == GREY] == ["no steering", "random dense at L0.mlp"]


def test_nothing_evaluated_gives_an_empty_figure(result: SteeringResult) -> None:
    assert len(steering_curves(replace(result, families=())).data) == 0
