"""The findings of the page of learning dynamics: the verdict first, then the numbers it rests
on.
"""

import math
from collections.abc import Sequence

from interp.core.display.markup import MISSING
from interp.dynamics.language.steering import Arm
from interp.dynamics.learning_times import LearningRule, signal_correlation
from interp.report.tables.features import control_cell, score_cell
from interp.report.tables.learning import lag_cell, lag_of, onset_cell, over_random
from interp.studies.learning.result import (
    ImageRun,
    LanguageRun,
    arm_title,
    arms_of,
    by_signal,
    main_arm,
    prompt_onset,
)

ENOUGH = 5
"""Runs below which an interval over runs supports no verdict."""


def verdict(runs: Sequence[ImageRun], language: LanguageRun | None, rule: LearningRule) -> str:
    """What was found, in one sentence, no part of it stronger than its interval.

    Example:
        >>> verdict(runs, None, LearningRule())
        'Colour is learned sooner the stronger its signal; …'
    """
    parts = [_speed(runs, rule), _turned(runs), _hidden(runs, rule)] if runs else []
    parts += [_language(language, rule)] if language is not None else []
    said = "; ".join(part for part in parts if part)
    return said[:1].upper() + said[1:] + "."


def findings(
    runs: Sequence[ImageRun], language: LanguageRun | None, rule: LearningRule
) -> list[str]:
    """The numbers that the verdict rests on."""
    return [*_image_findings(runs, rule), *_language_findings(language, rule)]


def _speed(runs: Sequence[ImageRun], rule: LearningRule) -> str:
    if len(by_signal(runs)) < 2:
        return ""
    found = signal_correlation(
        {
            signal: [run.learned("colour", rule) for run in group]
            for signal, group in by_signal(runs).items()
        }
    )
    if found.low > 0:
        return "colour is learned sooner the stronger its signal"
    return (
        "colour is learned later the stronger its signal"
        if found.high < 0
        else "colour is not clearly learned sooner with more signal"
    )


def _turned(runs: Sequence[ImageRun]) -> str:
    signal, group = next(iter(by_signal(runs).items()))
    turns = [run.turn for run in group if run.turn is not None]
    if not turns:
        return ""
    return (
        f"at Δcolour {signal:g} {sum(turn.found for turn in turns)} of {len(turns)} "
        "trajectories turn (of straight ways 1 in 20 would)"
    )


def _hidden(runs: Sequence[ImageRun], rule: LearningRule) -> str:
    group = next(iter(by_signal(runs).values()))
    arm = main_arm(arms_of(group))
    lag = None if arm is None else lag_of(group, arm, rule)
    if arm is None or lag is None:
        return ""
    if lag.earlier.n < ENOUGH:
        return (
            f"there too few runs reach the held-out class to tell whether a {arm_title(arm)} "
            "elicits it early"
        )
    if lag.earlier.low <= 0.5:
        return (
            f"there a {arm_title(arm)} does not clearly elicit the held-out class before it "
            "comes as asked"
        )
    beyond = over_random(group, rule)
    said = f"there a {arm_title(arm)} elicits the held-out class before it comes as asked"
    if beyond is None:
        return said
    sure = beyond.n >= ENOUGH and beyond.low > 0.5
    return (
        f"{said}, and before random directions do"
        if sure
        else f"{said}, but not clearly before random directions do"
    )


def _language(language: LanguageRun, rule: LearningRule) -> str:
    before = {arm: _before_asked(language, arm, rule) for arm in ("own", "random")}
    count = len(language.track.concepts)
    return (
        f"in {language.name} steering with a checkpoint’s own direction brings "
        f"{len(before['own'])} of {count} concepts about before they "
        f"come as asked, random directions {len(before['random'])}"
    )


def _before_asked(language: LanguageRun, arm: Arm, rule: LearningRule) -> list[str]:
    """The concepts that an arm brings about clearly earlier: the interval of its onset ends before
    that of asking begins.
    """
    steps, names = language.track.steps, []
    for concept in language.track.concepts:
        if arm in concept.steered:
            _, _, latest = prompt_onset(steps, concept.arm(arm), rule)
            _, earliest, _ = prompt_onset(steps, concept.naive, rule)
            names += [concept.name] if latest.ordered < earliest.ordered else []
    return names


def _image_findings(runs: Sequence[ImageRun], rule: LearningRule) -> list[str]:
    if not runs:
        return []
    groups, said = by_signal(runs), []
    if len(groups) > 1:
        for name, title in (
            ("colour", "colour"),
            ("size", "size"),
            ("joint", "the held-out class"),
        ):
            found = signal_correlation(
                {
                    signal: [run.learned(name, rule) for run in group]
                    for signal, group in groups.items()
                }
            )
            said.append(
                f"Speed of learning {title} against Δcolour: rank correlation "
                f"{score_cell(found, signed=True)} over {found.n} "
                f"runs; runs dealt at random to signals {_signed(found.control)}."
            )
    arm = main_arm(arms_of(runs))
    lags = (
        {}
        if arm is None
        else {signal: lag_of(group, arm, rule) for signal, group in groups.items()}
    )
    if arm is not None:
        listed = "; ".join(f"{lag_cell(lag)} at {signal:g}" for signal, lag in lags.items())
        said.append(
            f"Steps by which asking lags behind a {arm_title(arm)}, from weak to strong signal: "
            f"{listed}."
        )
        beyond = {signal: over_random(group, rule) for signal, group in groups.items()}
        shares = "; ".join(
            f"{score_cell(score)} (n = {score.n}) at {signal:g}"
            for signal, score in beyond.items()
            if score
        )
        said += (
            [
                "Share of the runs reaching either in which it works before random directions do "
                f"(chance .5): {shares}."
            ]
            if shares
            else []
        )
    return said


def _language_findings(language: LanguageRun | None, rule: LearningRule) -> list[str]:
    if language is None:
        return []
    said = []
    for concept in language.track.concepts:
        asked = onset_cell(prompt_onset(language.track.steps, concept.naive, rule))
        arms = [
            (
                f"with {arm_title(arm)} from "
                f"{onset_cell(prompt_onset(language.track.steps, concept.arm(arm), rule))}"
            )
            for arm in ("own", "random")
            if arm in concept.steered
        ]
        said.append(
            f"“{concept.name}” comes as asked from step {asked}; steered {', '.join(arms)}."
        )
    history = language.history
    if history is not None:
        said.append(
            f"{len(history.chains)} features were followed; from one checkpoint to the next "
            f"{score_cell(history.links)} of them "
            f"go on (with checkpoints shuffled {control_cell(history.links)}, p = "
            f"{history.p_value:.3f})."
        )
    return [
        *said,
        "This is one run: its intervals are over prompts, and say nothing of other seeds.",
    ]


def facts(
    runs: Sequence[ImageRun], language: LanguageRun | None, rule: LearningRule
) -> list[tuple[str, str]]:
    """What was looked at, in a few words."""
    said = []
    if runs:
        groups = by_signal(runs)
        said += [
            ("Image runs", f"{len(runs)}: Δcolour {', '.join(f'{signal:g}' for signal in groups)}"),
            ("Seeds", ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))),
            (
                "Checkpoints",
                (
                    f"up to {max(len(run.steps) for run in runs)}, to step "
                    f"{max(run.steps[-1] for run in runs):,}"
                ),
            ),
        ]
    if language is not None:
        track = language.track
        said += [
            (
                "Language model",
                f"{language.name}, {len(track.steps)} checkpoints to step {track.steps[-1]:,}",
            ),
            ("Concepts", ", ".join(concept.name for concept in track.concepts)),
            (
                "Steered at",
                f"{track.site}, factors {', '.join(f'{factor:g}' for factor in track.factors)}",
            ),
        ]
    return [*said, ("Learned is", str(rule))]


def _signed(value: float | None) -> str:
    return MISSING if value is None or math.isnan(value) else f"{value:+.2f}".replace("-", "−")
