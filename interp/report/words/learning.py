"""The verdict and findings of the page of learning dynamics."""

import math

from interp.core.display.markup import MISSING
from interp.report.tables.features import control_cell, score_cell
from interp.report.tables.learning import arm_title, lag_cell, onset_cell
from interp.studies.learning.result import (
    ConceptResult,
    LanguageResult,
    LearningResult,
    SignalResult,
    main_arm,
)

ENOUGH = 5
"""Runs below which an interval over runs supports no verdict."""


def verdict(found: LearningResult) -> str:
    """The result in one sentence, no part of it stronger than its interval.

    Example:
        >>> verdict(study_learning(runs))
        'Colour is learned sooner the stronger its signal; …'
    """
    parts = [_speed(found)]
    if found.signals:
        parts += [_turned(found.signals[0]), _hidden(found.signals[0])]
    if found.language is not None:
        parts.append(_language(found.language))
    said = "; ".join(part for part in parts if part)
    return said[:1].upper() + said[1:] + "."


def findings(found: LearningResult) -> list[str]:
    """The numbers that the verdict rests on."""
    images = [*_speeds(found), *_lags(found)] if found.signals else []
    return images if found.language is None else [*images, *_language_findings(found.language)]


def _speed(found: LearningResult) -> str:
    if "colour" not in found.correlations:
        return ""
    score = found.correlations["colour"]
    if not (score.low > 0 or score.high < 0):
        return "colour is not clearly learned sooner with more signal"
    return f"colour is learned {'sooner' if score.low > 0 else 'later'} the stronger its signal"


def _turned(group: SignalResult) -> str:
    turned = group.turned
    if not turned.n:
        return ""
    return (
        f"at Δcolour {group.signal:g} {turned.found} of {turned.n} "
        "trajectories turn (of straight ways 1 in 20 would)"
    )


def _hidden(group: SignalResult) -> str:
    arm = group.main
    if arm is None or arm.lag is None:
        return ""
    there, earlier, beyond = f"there a {arm_title(arm.arm)}", arm.lag.earlier, group.over_random
    if earlier.n < ENOUGH:
        return (
            "there too few runs reach the held-out class to tell whether a "
            f"{arm_title(arm.arm)} elicits it early"
        )
    before = "the held-out class before it comes as asked"
    if earlier.low <= 0.5:
        return f"{there} does not clearly elicit {before}"
    said = f"{there} elicits {before}"
    if beyond is None:
        return said
    sure = beyond.n >= ENOUGH and beyond.low > 0.5
    return f"{said}, {'and' if sure else 'but not clearly'} before random directions do"


def _language(language: LanguageResult) -> str:
    own = sum(concept.sooner("own") for concept in language.concepts)
    random = sum(concept.sooner("random") for concept in language.concepts)
    return (
        f"in {language.run.name} steering with a checkpoint’s own direction brings "
        f"{own} of {len(language.concepts)} concepts about before they "
        f"come as asked, random directions {random}"
    )


def _speeds(found: LearningResult) -> list[str]:
    return [
        f"Speed of learning {'the held-out class' if name == 'joint' else name} against Δcolour: "
        f"rank correlation {score_cell(score, signed=True)} over {score.n} "
        f"runs; with signals permuted across runs {_signed(score.control)}."
        for name, score in found.correlations.items()
    ]


def _lags(found: LearningResult) -> list[str]:
    main = main_arm(found.arms)
    if main is None:
        return []
    lags = [(group.signal, lag_cell(group.arm(main).lag)) for group in found.signals]
    said = [
        f"Steps by which asking lags behind a {arm_title(main)}, from weak to strong signal: "
        f"{'; '.join(f'{lag} at {signal:g}' for signal, lag in lags)}."
    ]
    shares = "; ".join(
        f"{score_cell(group.over_random)} (n = {group.over_random.n}) at {group.signal:g}"
        for group in found.signals
        if group.over_random
    )
    if shares:
        said.append(
            f"Share of runs in which a {arm_title(main)} works before random directions do, of "
            f"those in which either works (chance 0.5): {shares}."
        )
    return said


def _language_findings(language: LanguageResult) -> list[str]:
    said = [_concept(concept) for concept in language.concepts]
    history = language.run.history
    if history is not None:
        said.append(
            f"{len(history.chains)} features were followed; from one checkpoint to the next "
            f"{score_cell(history.links)} of them go on (with checkpoints shuffled "
            f"{control_cell(history.links)}, p = {history.p_value:.3f})."
        )
    return [
        *said,
        "This is one run: its intervals are over prompts, and say nothing of other seeds.",
    ]


def _concept(concept: ConceptResult) -> str:
    arms = [
        f"with {arm_title(arm)} from {onset_cell(onset)}"
        for arm, onset in concept.elicited.items()
        if arm in ("own", "random")
    ]
    return (
        f"“{concept.name}” comes as asked from step {onset_cell(concept.prompted)}; steered "
        f"{', '.join(arms)}."
    )


def facts(found: LearningResult) -> list[tuple[str, str]]:
    """The runs, seeds, checkpoints and settings of the study."""
    said, runs = [], found.runs
    if runs:
        signals = ", ".join(f"{group.signal:g}" for group in found.signals)
        most = max(len(run.steps) for run in runs)
        said += [
            ("Image runs", f"{len(runs)}: Δcolour {signals}"),
            ("Seeds", ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))),
            ("Checkpoints", f"up to {most}, to step {found.last:,}"),
        ]
    if found.language is not None:
        track = found.language.run.track
        factors = ", ".join(f"{factor:g}" for factor in track.factors)
        said += [
            (
                "Language model",
                f"{found.language.run.name}, {len(track.steps)} checkpoints to step "
                f"{track.steps[-1]:,}",
            ),
            ("Concepts", ", ".join(concept.name for concept in track.concepts)),
            ("Steered at", f"{track.site}, factors {factors}"),
        ]
    return [*said, ("Learned is", str(found.rule))]


def _signed(value: float | None) -> str:
    return MISSING if value is None or math.isnan(value) else f"{value:+.2f}".replace("-", "−")
