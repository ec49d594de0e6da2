"""The box of doubts says what the data says: each state is reached by the data that should reach
it, and by no better.
"""

from typing import Any

import pytest

from interp.report.data.stored import report_from
from interp.report.words.features import verdict
from interp.report.words.methods import methods_text
from interp.report.words.trust import Doubt, trust


def row(data: dict[str, Any], words: str) -> Doubt:
    (found,) = [item for item in trust(report_from(data)) if words in item.question]
    return found


@pytest.mark.parametrize(
    ("low", "state"), [(0.9, "good"), (0.899, "caution"), (0.75, "caution"), (0.749, "bad")]
)
def test_the_judge_is_as_good_as_the_lower_end_of_its_interval(
    data: dict[str, Any], low: float, state: str
) -> None:
    data["judge"]["auroc"] |= {"value": 0.95, "low": low, "high": 0.99}
    assert row(data, "judge tell").state == state


def test_a_judge_that_was_not_measured_is_open(data: dict[str, Any]) -> None:
    data["judge"]["auroc"] |= {"value": None, "low": None, "high": None}
    assert row(data, "judge tell").state == "open"


@pytest.mark.parametrize(
    ("failed", "state"), [(10, "good"), (11, "caution"), (50, "caution"), (51, "bad")]
)
def test_failures_are_counted_against_what_was_asked(
    data: dict[str, Any], failed: int, state: str
) -> None:
    data["judge"] |= {"asked": 1000, "failed": failed}
    assert row(data, "fail").state == state
    assert f"{failed} of 1,000" in row(data, "fail").answer


def test_what_chance_would_give_is_set_beside_what_was_found(data: dict[str, Any]) -> None:
    routes = [
        route
        for item in data["features"]
        if item["steering"]
        for route in item["steering"]["routes"]
    ]
    for number, route in enumerate(routes):
        route["beats_control"] = number == 0
    assert len(routes) == 28
    found = row(data, "by chance")
    assert found.state == "caution"
    assert "28 comparisons" in found.answer
    assert "about 0.7" in found.answer
    assert found.answer.endswith("by chance, 1 do.")
    for route in routes:
        route["beats_control"] = True
    assert row(data, "by chance").state == "good"


def test_few_concepts_call_for_caution(data: dict[str, Any]) -> None:
    assert row(data, "how many cases").state == "good"
    data["steering"]["families"][1]["n"] = 5
    assert row(data, "how many cases").state == "caution"
    assert "5 concepts in the smallest family" in row(data, "how many cases").answer


def test_detection_must_clear_the_upper_end_of_the_random_directions(data: dict[str, Any]) -> None:
    for item in data["detection"]["summary"]:
        item["mean_auroc"] |= {"value": 0.8, "low": 0.75, "high": 0.85}
    random = next(item for item in data["detection"]["summary"] if item["method"] == "random")[
        "mean_auroc"
    ]
    for high, state in ((0.74, "good"), (0.76, "bad")):
        random |= {"value": 0.6, "low": 0.5, "high": high}
        assert row(data, "random directions").state == state


def test_stability_that_was_not_measured_is_open_and_says_how(data: dict[str, Any]) -> None:
    assert "semi-NMF" in row(data, "other seeds").answer
    data["methods"][0]["stability"] = None
    assert row(data, "other seeds").state == "open"
    assert "--stability" in row(data, "other seeds").answer


def test_shared_prompts_are_bad_and_unreached_strengths_counted(data: dict[str, Any]) -> None:
    assert row(data, "other prompts").state == "good"
    assert "reached: 9," in row(data, "other prompts").answer
    data["steering"]["prompts_selection"] = data["steering"]["prompts_report"][:1]
    assert row(data, "other prompts").state == "bad"


def test_the_verdict_counts_unsupervised_features_only(data: dict[str, Any]) -> None:
    steered = [feature for feature in data["features"] if feature["steering"]]
    for number, feature in enumerate(steered):
        for route in feature["steering"]["routes"]:
            route["beats_control"] = number < 5 and route["route"] == "companion"
    assert verdict(report_from(data)).startswith(
        f"5 of {len(steered)} steered features steer beyond the best control, and "
    )
    steered[0]["method"] = "difference_in_means"
    assert verdict(report_from(data)).startswith(f"4 of {len(steered) - 1} ")
    for item in data["detection"]["summary"]:
        item["at_least_0.9"] = {"snmf": 3, "sae": 6, "difference-in-means": 9, "random": 9}[
            item["method"]
        ]
    data["detection"]["summary"] = [
        item for item in data["detection"]["summary"] if item["method"] != "difference-in-means"
    ]
    said = verdict(report_from(data))
    assert "6 of 9 concepts are detected by one top-k SAE feature each" in said


def test_a_report_of_nothing_measured_says_so(data: dict[str, Any]) -> None:
    data["detection"] = {"concepts": [], "summary": []}
    data["steering"] |= {"families": [], "prompts_report": [], "prompts_selection": []}
    data["judge"] |= {"auroc": data["judge"]["auroc"] | {"value": None}, "asked": 0, "failed": 0}
    data["methods"] = []
    for feature in data["features"]:
        feature["steering"] = feature["detection"] = None
    assert "neither detection nor steering" in verdict(report_from(data))
    assert {item.state for item in trust(report_from(data))} == {"open"}
    assert len(methods_text(report_from(data))) == 1


def test_the_methods_paragraph_takes_its_numbers_from_the_provenance(data: dict[str, Any]) -> None:
    data["provenance"]["activations"] = {
        "corpus_hash": "c0ffee" * 10,
        "versions": {"interp": "9.9", "torch": "2.13"},
    }
    data["provenance"]["dictionaries"] = {"snmf": {"parameters": {"sparsity": 0.02, "rows": 7}}}
    recording, decomposition, detection, steering = methods_text(report_from(data))
    assert "42,312 tokens of 1,740 texts (sha256 c0ffeec0ffee…)" in recording
    assert "interp 9.9, torch 2.13" in recording
    assert "semi-NMF (20 features; sparsity 0.02; Ding" in decomposition
    assert "rows 7" not in decomposition
    assert "derive from 0" in decomposition
    assert "9 labelled concepts" in detection
    assert "0.1, 0.25, 0.5, 1, 2 nats, with both signs" in steering
    assert "random directions" not in decomposition
