"""Figures hold the data's numbers: values, intervals, and controls apart from the rest."""

from typing import Any

import pytest

from interp.core import InputError
from interp.features.tree import Branch, ConceptTree
from interp.report.data.stored import report_from
from interp.report.figures import features as figures


def trace(figure: Any, name: str) -> Any:
    return next(item for item in figure.data if item.name == name)


def luminance(color: str) -> float:
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_dose_response_holds_every_familys_curve_with_its_interval(data: dict[str, Any]) -> None:
    figure = figures.dose_response(report_from(data))
    assert len(figure.data) == len(data["steering"]["families"])
    family = data["steering"]["families"][0]
    drawn = trace(figure, family["title"])
    for place, point in enumerate(family["curve"]):
        score = point["score"]
        assert drawn.y[place] == score["value"]
        assert drawn.x[place] == pytest.approx(point["kl"], rel=0.06)
        assert drawn.y[place] + drawn.error_y.array[place] == pytest.approx(score["high"])
        assert drawn.y[place] - drawn.error_y.arrayminus[place] == pytest.approx(score["low"])


def test_controls_are_grey_and_nothing_else_is(data: dict[str, Any]) -> None:
    figure = figures.dose_response(report_from(data))
    for family in data["steering"]["families"]:
        assert (trace(figure, family["title"]).line.color == figures.GREY) == family["control"]
    colors = figures.method_colors(report_from(data))
    assert colors["random"] == figures.GREY
    assert len({colors["snmf"], colors["sae"], colors["difference-in-means"]} - {figures.GREY}) == 3


def test_no_steering_is_a_level_line(data: dict[str, Any]) -> None:
    drawn = trace(figures.dose_response(report_from(data)), "no steering")
    assert list(drawn.x) == [0.1, 2.0]
    assert (
        drawn.y[0] == drawn.y[1] == data["steering"]["families"][-1]["curve"][0]["score"]["value"]
    )


def test_undefined_scores_are_left_out(data: dict[str, Any]) -> None:
    data["steering"]["families"][0]["curve"][1]["score"] |= {
        "value": None,
        "low": None,
        "high": None,
    }
    title = data["steering"]["families"][0]["title"]
    assert len(trace(figures.dose_response(report_from(data)), title).y) == 4
    data["methods"][0]["explained_variance"]["value"] = None
    assert [item.name for item in figures.reconstruction(report_from(data)).data] == [
        "top-k SAE",
        "random directions",
    ]


def test_detection_puts_the_best_concept_on_top(data: dict[str, Any]) -> None:
    concepts = {item["concept"]: item["best"] for item in data["detection"]["concepts"]}
    concepts["law"][1]["auroc"]["value"] = 0.999
    concepts["winter"][3]["auroc"]["value"] = 1.0  # a control
    figure = figures.detection(report_from(data))
    assert figure.layout.yaxis.ticktext[-1] == "law"
    drawn = trace(figure, "semi-NMF")
    assert sorted(drawn.x) == sorted(
        item["best"][0]["auroc"]["value"] for item in data["detection"]["concepts"]
    )


def test_names_from_the_data_are_text_in_a_figure(data: dict[str, Any]) -> None:
    data["steering"]["families"][0]["title"] = "<a href='x'>"
    report = report_from(data)
    text = figures.dose_response(report).to_json() + figures.detection(report).to_json()
    assert "<a href" not in text
    assert "<script" not in text
    assert "&lt;script" in text or "\\u0026lt;script" in text


def test_nothing_measured_gives_empty_figures(data: dict[str, Any]) -> None:
    data["steering"] |= {"families": [], "strengths_kl": []}
    data["detection"] |= {"concepts": [], "summary": []}
    data["methods"] = []
    assert [
        len(draw(report_from(data)).data)
        for draw in (figures.dose_response, figures.detection, figures.reconstruction)
    ] == [0, 0, 0]


@pytest.mark.parametrize("color", [*figures.PALETTE, figures.GREY])
def test_series_colours_can_be_seen_in_both_themes(color: str) -> None:
    assert contrast(color, "#fdfdfc") >= 3
    assert contrast(color, "#14161a") >= 3
    assert contrast("#ffffff", "#000000") == pytest.approx(21)


def test_a_concept_tree_puts_each_parent_amid_its_children() -> None:
    branches = (
        Branch(1, 0, 3, 1.0),
        Branch(1, 0, 1, 0.5),
        Branch(1, 1, 1, 1.0),
        Branch(2, 0, 0, 1.0),
        Branch(2, 0, 1, 0.2),
    )
    figure = figures.concept_tree(
        ConceptTree((4, 2, 1), branches), 2, 0, {(0, 3): "<b>bread</b>", (2, 0): "food"}
    )
    *lines, nodes = figure.data
    placed = list(zip(nodes.x, nodes.text, nodes.y, strict=True))
    assert placed == [
        (0, "&lt;b&gt;bread&lt;/b&gt;", 0),
        (0, "1", 1),
        (1, "0", 0.5),
        (0, "1", 2),
        (1, "1", 2),
        (2, "food", 1.25),
    ]
    assert sorted(line.line.width for line in lines) == pytest.approx([1.1, 2, 3.5, 3.5, 3.5])
    assert len(figures.concept_tree(ConceptTree((4, 2, 1), branches), 1, 1).data) == 2
    with pytest.raises(InputError, match="feature 2 of level 1"):
        figures.concept_tree(ConceptTree((4, 2, 1), branches), 1, 2)
