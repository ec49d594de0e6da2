"""Tables say what the scores say, and text in them is only text."""

from math import nan
from typing import Any

import pytest

from interp.core import Score
from interp.report.data.stored import report_from
from interp.report.tables import features as tables
from interp.report.words.features import findings

SCORE = Score(0.912, 0.88, 0.941, n=24, seed=0)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (SCORE, "0.91 [0.88, 0.94]"),
        (Score(-0.5, nan, nan, n=24, seed=0), "−0.50"),
        (Score(-0.001, -0.2, 0.1, n=24, seed=0), "0.00 [−0.20, 0.10]"),
        (Score(nan, nan, nan, n=24, seed=0), "–"),
        (None, "–"),
    ],
)
def test_a_score_is_shown_with_its_interval(score: Score | None, expected: str) -> None:
    assert tables.score_cell(score) == expected


def test_a_difference_shows_its_sign() -> None:
    assert tables.score_cell(SCORE, 1, signed=True) == "+0.9 [+0.9, +0.9]"


def test_cells_cannot_break_out_of_markdown_or_html() -> None:
    table = tables.Table(
        "<b>caption", ("a", "b"), (("x|y\nz", "<script>"), ("control", "1")), frozenset({1})
    )
    assert table.markdown().splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| x\\|y z | <script> |",
        "| control | 1 |",
    ]
    shown = table._repr_html_()
    assert "<script" not in shown
    assert "<b>" not in shown
    assert shown.count("class=muted") == 1


def test_every_family_concept_and_method_has_its_row(data: dict[str, Any]) -> None:
    families = tables.families_table(report_from(data))
    assert [row[0] for row in families.rows] == [
        family["title"] for family in data["steering"]["families"]
    ]
    assert families.muted == {5, 6, 7}
    assert len(tables.concepts_table(report_from(data)).rows) == sum(
        len(item["best"]) for item in data["detection"]["concepts"]
    )
    assert [row[0] for row in tables.methods_table(report_from(data)).rows] == [
        "semi-NMF",
        "top-k SAE",
        "random directions",
    ]
    assert tables.methods_table(report_from(data)).muted == {2}
    curve = tables.curve_table(report_from(data))
    assert curve.header == ("Family", "KL 0", "KL 0.1", "KL 0.25", "KL 0.5", "KL 1", "KL 2")
    assert curve.rows[0][1] == "–"
    assert curve.rows[0][4] == tables.score_cell(
        report_from(data).steering.families[0].curve[2].score
    )


def test_stability_has_its_columns_only_where_it_was_measured(data: dict[str, Any]) -> None:
    measured = tables.methods_table(report_from(data))
    assert measured.header[-3:] == ("Found by other seeds", "Found on halves", "Control")
    assert measured.rows[0][-3:] == (
        tables.score_cell(report_from(data).methods[0].stability.seeds),
        "–",
        "0.31",
    )
    assert measured.rows[1][-3:] == ("–", "–", "–")
    assert {len(row) for row in measured.rows} == {len(measured.header)}
    data["methods"][0]["stability"] = None
    assert tables.methods_table(report_from(data)).header[-1] == "Time"
    assert {len(row) for row in tables.methods_table(report_from(data)).rows} == {7}


def test_a_control_is_a_method_that_never_names_a_feature(data: dict[str, Any]) -> None:
    assert tables.control_methods(report_from(data)) == {"random"}
    data["detection"]["concepts"][0]["best"][3]["feature"] = 4
    assert tables.control_methods(report_from(data)) == frozenset()


def test_findings_claim_no_more_than_the_interval(data: dict[str, Any]) -> None:
    best = data["steering"]["families"][0]
    best["minus_best_control"] |= {"value": 0.2, "low": 0.05, "high": 0.3}
    said = findings(report_from(data))
    assert "steers best" in said[0]
    assert "+0.20 [+0.05, +0.30] against the best control" in said[0]
    best["minus_best_control"] |= {"low": -0.01}
    assert "does not exclude zero" in findings(report_from(data))[0]


def test_findings_never_name_a_control_as_best_and_say_what_is_missing(
    data: dict[str, Any],
) -> None:
    data["steering"]["families"][5]["report"]["value"] = 2.0
    said = findings(report_from(data))
    assert said[0].startswith("Of 5 families of directions, semi-NMF, companion")
    data["steering"]["families"] = []
    data["detection"]["summary"] = []
    for feature in data["features"]:
        feature["steering"] = None
    said = findings(report_from(data))
    assert said[0].startswith("No family of directions was steered with")
    assert said[1] == "None of the 40 features was steered on its own."
    assert said[2] == "Detection of concepts was not measured."


def test_findings_count_the_features_that_beat_their_control(data: dict[str, Any]) -> None:
    steered = [feature["steering"] for feature in data["features"] if feature["steering"]]
    for number, item in enumerate(steered):
        for route in item["routes"]:
            route["beats_control"] = number < 3 and route["route"] == "native"
    assert (
        findings(report_from(data))[1]
        == f"3 of {len(steered)} steered features beat their control by at least one route."
    )
