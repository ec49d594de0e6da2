"""What a report's data must hold; checked before a page is written, so that a gap is named by its
path and not found by a reader.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interp.core.errors import InputError


@dataclass(frozen=True)
class Maybe:
    """The shape, or null."""

    shape: Any


@dataclass(frozen=True)
class Named:
    """A mapping from any name to values of one shape."""

    shape: Any


NUMBER = (int, float)
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
SCORE = {
    "value": Maybe(NUMBER),
    "low": Maybe(NUMBER),
    "high": Maybe(NUMBER),
    "n": int,
    "seed": int,
    "control": Maybe(NUMBER),
    "interval": str,
}
CONTINUATION = {"prompt": str, "text": str}
LOGIT = {"token": str, "logit": NUMBER}

METHOD = {
    "method": str,
    "title": str,
    "features": int,
    "explained_variance": SCORE,
    "l0": NUMBER,
    "direction_density": NUMBER,
    "dead_fraction": NUMBER,
    "seconds": NUMBER,
    "stability": Maybe({"seeds": Maybe(SCORE), "halves": Maybe(SCORE)}),
}
BEST = {
    "method": str,
    "feature": Maybe(int),
    "auroc": SCORE,
    "auroc_other_concepts": SCORE,
    "average_precision": SCORE,
    "paper_score": Maybe(NUMBER),
}
DETECTION = {
    "concepts": [{"concept": str, "best": [BEST]}],
    "summary": [{"method": str, "concepts": int, "at_least_0.9": int, "mean_auroc": SCORE}],
}
JUDGE = {
    "name": str,
    "auroc": SCORE,
    "accepted": [str],
    "refused": [{"concept": str, "auroc": NUMBER}],
    "asked": int,
    "failed": int,
}
FAMILY = {
    "family": str,
    "title": str,
    "method": str,
    "route": str,
    "site": str,
    "control": bool,
    "curve": [{"kl": NUMBER, "score": SCORE}],
    "report": SCORE,
    "minus_best_control": Maybe(SCORE),
    "unreachable": int,
    "n": int,
}
STEERING = {
    "prompts_selection": [str],
    "prompts_report": [str],
    "strengths_kl": [NUMBER],
    "samples": int,
    "max_new_tokens": int,
    "unsteered": {"score": Named(SCORE), "continuations": [CONTINUATION]},
    "families": [FAMILY],
}
DOSE = {
    "kl": NUMBER,
    "measured_kl": NUMBER,
    "alpha": NUMBER,
    "sign": int,
    "score": SCORE,
    "concept_score": NUMBER,
    "fluency_score": NUMBER,
    "continuations": [CONTINUATION],
}
ROUTE = {
    "route": str,
    "site": str,
    "dose": [DOSE],
    "chosen": {"kl": NUMBER, "sign": int},
    "report": SCORE,
    "control": SCORE,
    "beats_control": bool,
    "lift": Maybe({"value": NUMBER, "percentile": NUMBER, "n_random": int}),
    "unreachable": [NUMBER],
}
NEIGHBOUR = {"id": str, "cosine": NUMBER, "coactivation": Maybe(NUMBER)}
MATCH = {
    "first": str,
    "second": str,
    "pairs": [{"first": str, "second": str, "cosine": NUMBER}],
    "mean_cosine": SCORE,
}
HIERARCHY = {
    "method": str,
    "levels": [{"features": [{"label": str}]}],
    "branches": [{"level": int, "parent": int, "child": int, "share": NUMBER}],
}
FEATURE = {
    "id": str,
    "method": str,
    "index": int,
    "label": str,
    "label_source": str,
    "concept": Maybe(str),
    "firing_rate": NUMBER,
    "nonzero_neurons": int,
    "stability": Maybe({"seeds": Maybe(NUMBER), "halves": Maybe(NUMBER), "control": NUMBER}),
    "contexts": [{"tokens": [str], "coefficients": [NUMBER], "peak": int}],
    "promoted": [LOGIT],
    "suppressed": [LOGIT],
    "detection": Maybe(
        {
            "concept": str,
            "auroc": SCORE,
            "auroc_other_concepts": SCORE,
            "average_precision": SCORE,
            "control_random": NUMBER,
            "control_shuffled": NUMBER,
        }
    ),
    "steering": Maybe({"concept": str, "routes": [ROUTE]}),
    "neighbours": [NEIGHBOUR],
    "neighbour_control": Maybe(NUMBER),
}
REPORT = {
    "schema": int,
    "title": str,
    "model": {"name": str, "weight_hash": Maybe(str), "site": str, "companion_site": str},
    "corpus": {"texts": int, "rows": int, "concepts": int, "selection": str},
    "provenance": Named(object),
    "methods": [METHOD],
    "detection": DETECTION,
    "judge": JUDGE,
    "steering": STEERING,
    "features": [FEATURE],
    "matches": [MATCH],
    "hierarchy": Maybe(HIERARCHY),
}
SCHEMA = 2


def validate(data: Mapping[str, Any]) -> None:
    """Check a report's data against the schema.

    Raises:
        InputError: a key is missing, a value has another type, a number is not finite, a text is
            not valid Unicode, a feature's id is used twice, or a context's coefficients do not fit
            its tokens; the message names the path.

    Example:
        >>> validate({"schema": 1})
        InputError: the report's data lacks 'title'; add it (null is allowed only where the schema
        says so)
    """
    _check(data, REPORT, "")
    if not _is_json(data):
        _find_not_json(data, "")
    if data["schema"] != SCHEMA:
        raise InputError(
            f"the report's data has schema {data['schema']}, this version writes schema "
            f"{SCHEMA}; "
            "make the report again"
        )
    _check_features(data["features"])


def _check(value: Any, shape: Any, path: str) -> None:
    if isinstance(shape, Maybe):
        if value is not None:
            _check(value, shape.shape, path)
    elif isinstance(shape, Named):
        _require(value, Mapping, path)
        for key, item in value.items():
            _check(item, shape.shape, _join(path, key))
    elif isinstance(shape, dict):
        _require(value, Mapping, path)
        _check_keys(value, shape, path)
    elif isinstance(shape, list):
        _require(value, (list, tuple), path)
        _check_items(value, shape[0], path)
    else:
        _require(value, shape, path)


def _check_keys(value: Mapping[str, Any], shapes: Mapping[str, Any], path: str) -> None:
    for key, shape in shapes.items():
        if key not in value:
            raise InputError(
                f"the report's data lacks {_join(path, key)!r}; add it (null is allowed only where "
                "the schema says so)"
            )
        item = value[key]
        if (
            type(item) is not shape
        ):  # most values are plain, and there are hundreds of thousands of them
            _check(item, shape, _join(path, key))


def _check_items(values: Sequence[Any], shape: Any, path: str) -> None:
    plain = shape if isinstance(shape, tuple) else (shape,)
    for number, item in enumerate(values):
        if type(item) not in plain:
            _check(item, shape, f"{path}[{number}]")


def _require(value: Any, kind: Any, path: str) -> None:
    wrong_bool = isinstance(value, bool) and kind not in (bool, object)
    if wrong_bool or not isinstance(value, kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(
            f"the report's data has {type(value).__name__} at {path or 'the top'!r}, expected "
            f"{names}; got {value!r:.60}"
        )


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _is_json(data: Mapping[str, Any]) -> bool:
    try:
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError):
        return False
    return True


def _find_not_json(value: Any, path: str) -> None:
    """Json knows no NaN, and UTF-8 no lone surrogate; either would make a file that nobody can
    read.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            _find_not_json(str(key), path)
            _find_not_json(item, _join(path, key))
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


def _check_features(features: Sequence[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for number, feature in enumerate(features):
        if feature["id"] in seen:
            raise InputError(
                f"the report's data uses the id {feature['id']!r} twice, again at "
                f"'features[{number}]'; ids must be unique"
            )
        seen.add(feature["id"])
        for which, context in enumerate(feature["contexts"]):
            _check_context(context, f"features[{number}].contexts[{which}]")


def _check_context(context: Mapping[str, Any], path: str) -> None:
    tokens, coefficients, peak = (
        len(context["tokens"]),
        len(context["coefficients"]),
        context["peak"],
    )
    if coefficients != tokens or not 0 <= peak < tokens:
        raise InputError(
            f"{path!r} has {tokens} tokens, {coefficients} coefficients and its peak at {peak}; "
            "one coefficient per token and a peak among them are needed"
        )
