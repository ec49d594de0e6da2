"""What was found, in sentences: computed from the scores, and no stronger than their intervals."""

from collections.abc import Mapping
from typing import Any

from interp.report.tables.features import control_methods, listed, method_titles, score_cell

SUPERVISED = frozenset({"difference_in_means"})


def verdict(data: Mapping[str, Any]) -> str:
    """The whole report in one sentence: how many features steer beyond the best control, and how
    many concepts one feature detects.

    Features of supervised methods are not counted: they were told the concept.

    Example:
        >>> verdict(data)
        '10 of 10 steered features steer beyond the best control, and one semi-NMF feature detects
        each of 17 of 28 concepts …'
    """
    parts = [part for part in (_steers(data), _detects(data)) if part]
    return (
        f"{', and '.join(parts)}."
        if parts
        else "Features were found and described; neither detection nor steering was measured."
    )


def _steers(data: Mapping[str, Any]) -> str:
    steered = [
        feature
        for feature in data["features"]
        if feature["steering"] is not None and feature["method"] not in SUPERVISED
    ]
    if not steered:
        return ""
    beating = sum(
        any(route["beats_control"] for route in feature["steering"]["routes"])
        for feature in steered
    )
    return f"{beating} of {len(steered)} steered features steer beyond the best control"


def _detects(data: Mapping[str, Any]) -> str:
    controls, titles = control_methods(data) | SUPERVISED, method_titles(data)
    found = [
        item
        for item in data["detection"]["summary"]
        if item["method"] not in controls and item["mean_auroc"]["value"] is not None
    ]
    if not found:
        return ""
    best = max(found, key=lambda item: item["at_least_0.9"])
    title = titles[best["method"]]
    return (
        f"{best['at_least_0.9']} of {best['concepts']} concepts are detected by one {title} "
        "feature each (held-out AUROC\u00a0≥\u00a00.9)"
    )


def findings(data: Mapping[str, Any]) -> list[str]:
    """The report's headline sentences; what was not measured is said, not left out.

    Example:
        >>> findings(data)[0]
        'Of 4 families of directions, semi-NMF, companion steers best: 1.10 [0.95, 1.24] on a scale
        of 0 to 2 at its chosen strength, …'
    """
    return [_steering(data), _features(data), _detection(data), _judge(data)]


def _steering(data: Mapping[str, Any]) -> str:
    families = [
        f
        for f in data["steering"]["families"]
        if not f["control"] and f["report"]["value"] is not None
    ]
    if not families:
        return (
            "No family of directions was steered with, so whether these features cause "
            "anything is open."
        )
    best = max(families, key=lambda family: family["report"]["value"])
    score = f"{score_cell(best['report'])} on a scale of 0 to 2"
    text = (
        f"Of {len(families)} families of directions, {best['title']} steers best: {score} at "
        "its chosen strength"
    )
    margin = best["minus_best_control"]
    if margin is None or margin["value"] is None:
        return text + "; the best control was not scored beside it."
    if margin["low"] is not None and margin["low"] > 0:
        return text + f", {score_cell(margin, signed=True)} against the best control."
    return text + (
        f". The difference from the best control, {score_cell(margin, signed=True)}, does not "
        "exclude zero."
    )


def _features(data: Mapping[str, Any]) -> str:
    steered = [
        feature["steering"] for feature in data["features"] if feature["steering"] is not None
    ]
    if not steered:
        return f"None of the {len(data['features'])} features was steered on its own."
    beating = sum(any(route["beats_control"] for route in item["routes"]) for item in steered)
    return f"{beating} of {len(steered)} steered features beat their control by at least one route."


def _detection(data: Mapping[str, Any]) -> str:
    controls, titles = control_methods(data), method_titles(data)
    found = [
        item
        for item in data["detection"]["summary"]
        if item["method"] not in controls and item["mean_auroc"]["value"] is not None
    ]
    if not found:
        return "Detection of concepts was not measured."
    parts = [
        f"{item['at_least_0.9']} of {item['concepts']} by {titles[item['method']]}"
        for item in found
    ]
    return f"Concepts detected with an AUROC of at least 0.9 by one feature: {listed(parts)}."


def _judge(data: Mapping[str, Any]) -> str:
    judge = data["judge"]
    if judge["auroc"]["value"] is None:
        return (
            "How well the judge tells concepts apart was not measured; read the steering "
            "scores with that in mind."
        )
    text = (
        "The judge tells a concept's held-out texts from others with AUROC "
        f"{score_cell(judge['auroc'], 3)}"
    )
    refused, accepted = len(judge["refused"]), len(judge["accepted"])
    return text + (
        f"; refused because it cannot: {refused} of {accepted + refused} concepts."
        if refused
        else "; no concept was refused."
    )
