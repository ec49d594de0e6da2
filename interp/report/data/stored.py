"""A report as json, checked both when it is written and when it is read back."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.core import InputError
from interp.core.files import read_json
from interp.core.plain import plain
from interp.core.reading import join, read_record
from interp.features.feature import FeatureContext
from interp.report.data.records import SCHEMA, Feature, Report

FILE = "features.json"
HALF_CHARACTER = re.compile("[\ud800-\udfff]")


def report_from(values: Mapping[str, Any]) -> Report:
    """A report from its plain json.

    Raises:
        InputError: a key is missing, a value has the wrong type, a number is not finite, a text is
            not valid Unicode, the schema differs, an id is used twice, or a context's coefficients
            do not fit its tokens; the message names the path.

    Example:
        >>> report_from({"schema": 1})
        InputError: the report's data lacks 'title'; add it (null is allowed only where the schema
        says so)
    """
    report = read_record(Report, values, name="the report's data")
    if not _is_json(values):
        _find_not_json(values, "")
    if report.schema != SCHEMA:
        raise InputError(
            f"the report's data has schema {report.schema}, this version writes schema {SCHEMA}; "
            "make the report again"
        )
    _check_features(report.features)
    return report


def report_values(report: Report) -> dict[str, Any]:
    """A report as plain json, checked as by `report_from`; null is an undefined score.

    Example:
        >>> report_values(report_data(run))["title"]
    """
    values: dict[str, Any] = plain(report)
    if report.model.source is None:
        del values["model"]["source"]
    report_from(values)
    return values


def read_report(folder: str | Path) -> Report:
    """Read the report of a folder that `interp.report.write_report` wrote.

    Raises:
        InputError: the folder holds no report, or its schema differs.
        UnavailableError: its `features.json` is damaged.

    Example:
        >>> read_report("report").judge.failed
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise InputError(
            f"{folder} holds no report (no {FILE}); `interp report --out {folder}` makes one"
        )
    return report_from(read_json(path))


def _is_json(values: Mapping[str, Any]) -> bool:
    try:
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError):
        return False
    return True


def _find_not_json(value: Any, path: str) -> None:
    """Raise at the first value that json or UTF-8 lacks, such as NaN or a lone surrogate."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _find_not_json(str(key), path)
            _find_not_json(item, join(path, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _find_not_json(item, f"{path}[{number}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(
            f"the report's data has {value} at {path!r}; json has no such number, use null where a "
            "score is undefined"
        )
    elif isinstance(value, str) and HALF_CHARACTER.search(value):
        raise InputError(
            f"the report's data has half a character at {path!r}: {value!a:.60}; decode tokens "
            "with errors='replace'"
        )
    elif not isinstance(value, str | int | float | None):
        raise InputError(
            f"the report's data has {type(value).__name__} at {path!r}; only json's own types can "
            "be written"
        )


def _check_features(features: tuple[Feature, ...]) -> None:
    seen: set[str] = set()
    for number, feature in enumerate(features):
        if feature.id in seen:
            raise InputError(
                f"the report's data uses the id {feature.id!r} twice, again at "
                f"'features[{number}]'; ids must be unique"
            )
        seen.add(feature.id)
        for which, context in enumerate(feature.contexts):
            _check_context(context, f"features[{number}].contexts[{which}]")


def _check_context(context: FeatureContext, path: str) -> None:
    tokens, coefficients = len(context.tokens), len(context.coefficients)
    if coefficients != tokens or not 0 <= context.peak < tokens:
        raise InputError(
            f"{path!r} has {tokens} tokens, {coefficients} coefficients and its peak at "
            f"{context.peak}; one coefficient per token and a peak among them are needed"
        )
