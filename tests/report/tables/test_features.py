"""Tables say what the scores say, and text in them is only text."""

from typing import Any

import pytest

from interp.report.tables import features as tables
from interp.report.words.features import findings

SCORE = {"value": 0.912, "low": 0.88, "high": 0.941}


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (SCORE, "0.91 [0.88, 0.94]"),
        ({"value": -0.5, "low": None, "high": None}, "−0.50"),
        ({"value": -0.001, "low": -0.2, "high": 0.1}, "0.00 [−0.20, 0.10]"),
        ({"value": None, "low": None, "high": None}, "–"),
        (None, "–"),
    ],
)
def test_a_score_is_shown_with_its_interval(score: dict[str, Any] | None, expected: str) -> None:
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
    families = tables.families_table(data)
    assert [row[0] for row in families.rows] == [
        family["title"] for family in data["steering"]["families"]
    ]
    assert families.muted == {5, 6, 7}
    assert len(tables.concepts_table(data).rows) == sum(
        len(item["best"]) for item in data["detection"]["concepts"]
    )
    assert [row[0] for row in tables.methods_table(data).rows] == [
        "semi-NMF",
        "top-k SAE",
        "random directions",
    ]
    assert tables.methods_table(data).muted == {2}
    curve = tables.curve_table(data)
    assert curve.header == ("Family", "KL 0", "KL 0.1", "KL 0.25", "KL 0.5", "KL 1", "KL 2")
    assert curve.rows[0][1] == "–"
    assert curve.rows[0][4] == tables.score_cell(
        data["steering"]["families"][0]["curve"][2]["score"]
    )


def test_stability_has_its_columns_only_where_it_was_measured(data: dict[str, Any]) -> None:
    measured = tables.methods_table(data)
    assert measured.header[-3:] == ("Found by other seeds", "Found on halves", "Control")
    assert measured.rows[0][-3:] == (
        tables.score_cell(data["methods"][0]["stability"]["seeds"]),
        "–",
        "0.31",
    )
    assert measured.rows[1][-3:] == ("–", "–", "–")
    assert {len(row) for row in measured.rows} == {len(measured.header)}
    data["methods"][0]["stability"] = None
    assert tables.methods_table(data).header[-1] == "Time"
    assert {len(row) for row in tables.methods_table(data).rows} == {7}


def test_a_control_is_a_method_that_never_names_a_feature(data: dict[str, Any]) -> None:
    assert tables.control_methods(data) == {"random"}
    data["detection"]["concepts"][0]["best"][3]["feature"] = 4
    assert tables.control_methods(data) == frozenset()


def test_findings_claim_no_more_than_the_interval(data: dict[str, Any]) -> None:
    best = data["steering"]["families"][0]
    best["minus_best_control"] |= {"value": 0.2, "low": 0.05, "high": 0.3}
    assert "steers best" in findings(data)[0]
    assert "+0.20 [+0.05, +0.30] against the best control" in findings(data)[0]
    best["minus_best_control"] |= {"low": -0.01}
    assert "does not exclude zero" in findings(data)[0]


def test_findings_never_name_a_control_as_best_and_say_what_is_missing(
    data: dict[str, Any],
) -> None:
    data["steering"]["families"][5]["report"]["value"] = 2.0
    assert findings(data)[0].startswith("Of 5 families of directions, semi-NMF, companion")
    data["steering"]["families"] = []
    data["detection"]["summary"] = []
    for feature in data["features"]:
        feature["steering"] = None
    said = findings(data)
    assert said[0].startswith("No family of directions was steered with")
    assert said[1] == "None of the 40 features was steered on its own."
    assert said[2] == "Detection of concepts was not measured."


def test_findings_count_the_features_that_beat_their_control(data: dict[str, Any]) -> None:
    steered = [feature["steering"] for feature in data["features"] if feature["steering"]]
    for number, item in enumerate(steered):
        for route in item["routes"]:
            route["beats_control"] = number < 3 and route["route"] == "native"
    assert (
        findings(data)[1]
        == f"3 of {len(steered)} steered features beat their control by at least one route."
    )
