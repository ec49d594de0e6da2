"""A report reads back as it was written, and a gap in its data is named by its path before anything
is written.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interp.core.errors import InputError
from interp.report.data.stored import read_report, report_from, report_values
from interp.report.pages.features import write_report

Change = Callable[[dict[str, Any]], object]


def test_whole_data_pass_and_so_do_the_allowed_gaps(data: dict[str, Any]) -> None:
    report_from(data)
    data["features"][0] |= {"detection": None, "steering": None, "concept": None, "stability": None}
    data["features"][1]["stability"] = {"seeds": None, "halves": 0.5, "control": 0.2}
    data["methods"][0]["stability"] = None
    data["judge"]["auroc"] |= {"value": None, "low": None, "high": None}
    data["model"]["weight_hash"] = None
    report_from(data)


def test_a_report_and_its_json_are_the_same(data: dict[str, Any]) -> None:
    data["judge"]["auroc"] |= {"value": None, "low": None, "high": None}
    report = report_from(data)
    assert math.isnan(report.judge.auroc.value)
    assert report.detection.summary[0].good == data["detection"]["summary"][0]["at_least_0.9"]
    assert report_values(report) == data
    assert report.model.source is None
    data["model"]["source"] = "a folder"
    assert report_from(data).model.source == "a folder"
    assert report_values(report_from(data)) == data


def test_a_report_reads_back_from_its_folder(data: dict[str, Any], tmp_path: Path) -> None:
    report = report_from(data)
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
    with pytest.raises(InputError, match="holds no report"):
        read_report(tmp_path / "elsewhere")


def test_a_number_that_is_undefined_is_refused_where_there_must_be_one(
    data: dict[str, Any],
) -> None:
    report = report_from(data)
    wrong = replace(report.methods[0], l0=math.nan)
    with pytest.raises(InputError, match=r"NoneType at 'methods\[0\].l0'"):
        report_values(replace(report, methods=(wrong,)))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d.pop("title"), "'title'"),
        (lambda d: d["model"].pop("companion_site"), "'model.companion_site'"),
        (
            lambda d: d["methods"][1]["explained_variance"].pop("low"),
            r"'methods\[1\].explained_variance.low'",
        ),
        (
            lambda d: d["steering"]["families"][2]["curve"][0].pop("kl"),
            r"'steering.families\[2\].curve\[0\].kl'",
        ),
        (
            lambda d: d["steering"]["unsteered"]["score"]["law"].pop("n"),
            "'steering.unsteered.score.law.n'",
        ),
        (
            lambda d: d["features"][0]["stability"].pop("control"),
            r"'features\[0\].stability.control'",
        ),
        (lambda d: d["methods"][0]["stability"].pop("halves"), r"'methods\[0\].stability.halves'"),
        (lambda d: d["features"][7].pop("steering"), r"'features\[7\].steering'"),
        (
            lambda d: d["features"][0]["steering"]["routes"][1].pop("control"),
            r"'features\[0\].steering.routes\[1\].control'",
        ),
    ],
)
def test_a_missing_key_is_named_by_its_path(
    data: dict[str, Any], change: Change, path: str
) -> None:
    change(data)
    with pytest.raises(InputError, match=f"lacks {path}"):
        report_from(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["features"][3].update(index="3"),
            r"str at 'features\[3\].index', expected int",
        ),
        (lambda d: d["judge"].update(asked=True), "bool at 'judge.asked', expected int"),
        (lambda d: d.update(features={}), "dict at 'features', expected list or tuple"),
        (lambda d: d["methods"][0].update(l0=None), r"NoneType at 'methods\[0\].l0'"),
        (lambda d: d["methods"][0].update(l0=float("nan")), r"nan at 'methods\[0\].l0'"),
        (lambda d: d["provenance"].update(cost=float("inf")), "inf at 'provenance.cost'"),
        (lambda d: d["provenance"].update(when={1, 2}), "set at 'provenance.when'"),
        (
            lambda d: d["features"][0].update(label="half \ud83d"),
            r"half a character at 'features\[0\].label'",
        ),
        (
            lambda d: d["features"][1].update(id="snmf-0"),
            r"'snmf-0' twice, again at 'features\[1\]'",
        ),
        (
            lambda d: d["features"][0]["contexts"][2].update(peak=999),
            r"'features\[0\].contexts\[2\]'",
        ),
        (
            lambda d: d["features"][0]["contexts"][0]["tokens"].pop(),
            r"'features\[0\].contexts\[0\]' has 24 tokens, 25 coefficients",
        ),
        (lambda d: d.update(schema=1), "schema 1"),
    ],
)
def test_a_value_that_cannot_be_shown_is_refused(
    data: dict[str, Any], change: Change, message: str
) -> None:
    change(data)
    with pytest.raises(InputError, match=message):
        report_from(data)
