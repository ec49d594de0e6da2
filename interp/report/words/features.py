"""The findings of the page of features, no stronger than their intervals."""

import math

from interp.report.data.records import Report, Summary
from interp.report.tables.features import control_methods, listed, method_titles, score_cell

SUPERVISED = frozenset({"difference_in_means"})


def verdict(data: Report) -> str:
    """The report in one sentence: how many features steer beyond the best control, and how many
    concepts one feature detects.

    Supervised methods do not count, as they are given the concept.

    Example:
        >>> verdict(data)
        '10 of 10 steered features steer beyond the best control, and one semi-NMF feature detects
        each of 17 of 28 concepts …'
    """
    parts = [part for part in (_steers(data), _detects(data)) if part]
    if not parts:
        return "Features were found and described; neither detection nor steering was measured."
    return f"{', and '.join(parts)}."


def _steers(data: Report) -> str:
    steered = [
        feature.steering
        for feature in data.features
        if feature.steering is not None and feature.method not in SUPERVISED
    ]
    if not steered:
        return ""
    beating = sum(item.beats_control for item in steered)
    return f"{beating} of {len(steered)} steered features steer beyond the best control"


def _detects(data: Report) -> str:
    found = [item for item in _detectors(data) if item.method not in SUPERVISED]
    if not found:
        return ""
    best = max(found, key=lambda item: item.good)
    return (
        f"{best.good} of {best.concepts} concepts are detected by one "
        f"{method_titles(data)[best.method]} feature each (held-out AUROC\u00a0≥\u00a00.9)"
    )


def _detectors(data: Report) -> list[Summary]:
    """Methods with measured detection, without controls."""
    controls = control_methods(data)
    return [
        item
        for item in data.detection.summary
        if item.method not in controls and not math.isnan(item.mean_auroc.value)
    ]


def findings(data: Report) -> list[str]:
    """The report's main findings, including what was not measured.

    Example:
        >>> findings(data)[0]
        'Of 4 families of directions, semi-NMF, companion steers best: 1.10 [0.95, 1.24] on a scale
        of 0 to 2 at its chosen strength, …'
    """
    return [_steering(data), _features(data), _detection(data), _judge(data)]


def _steering(data: Report) -> str:
    families = [
        family
        for family in data.steering.families
        if not family.control and not math.isnan(family.report.value)
    ]
    if not families:
        return (
            "No family of directions was steered with, so whether these features cause "
            "anything is open."
        )
    best = max(families, key=lambda family: family.report.value)
    text = (
        f"Of {len(families)} families of directions, {best.title} steers best: "
        f"{score_cell(best.report)} on a scale of 0 to 2 at its chosen strength"
    )
    margin = best.minus_best_control
    if margin is None or math.isnan(margin.value):
        return text + "; the best control was not scored beside it."
    if margin.low > 0:
        return text + f", {score_cell(margin, signed=True)} against the best control."
    return text + (
        f". The difference from the best control, {score_cell(margin, signed=True)}, does not "
        "exclude zero."
    )


def _features(data: Report) -> str:
    steered = [feature.steering for feature in data.features if feature.steering is not None]
    if not steered:
        return f"None of the {len(data.features)} features was steered on its own."
    beating = sum(item.beats_control for item in steered)
    return f"{beating} of {len(steered)} steered features beat their control by at least one route."


def _detection(data: Report) -> str:
    titles = method_titles(data)
    parts = [
        f"{item.good} of {item.concepts} by {titles[item.method]}" for item in _detectors(data)
    ]
    if not parts:
        return "Detection of concepts was not measured."
    return f"Concepts detected with an AUROC of at least 0.9 by one feature: {listed(parts)}."


def _judge(data: Report) -> str:
    judge = data.judge
    if math.isnan(judge.auroc.value):
        return (
            "How well the judge tells concepts apart was not measured; read the steering "
            "scores with that in mind."
        )
    text = (
        "The judge tells a concept's held-out texts from others with AUROC "
        f"{score_cell(judge.auroc, 3)}"
    )
    refused, accepted = len(judge.refused), len(judge.accepted)
    return text + (
        f"; refused because it cannot: {refused} of {accepted + refused} concepts."
        if refused
        else "; no concept was refused."
    )
