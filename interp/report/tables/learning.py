"""Tables of learning dynamics: learning times by signal, turns, lags by intervention, and a
language model's concepts.
"""

import math
from collections.abc import Sequence

import numpy as np

from interp.core import InputError, Score
from interp.core.display.markup import MISSING
from interp.dynamics.lags import Lag, elicitation_lag
from interp.dynamics.learning_times import LearningRule, LearningTime, TypicalTime
from interp.dynamics.turns import Turn
from interp.report.tables.features import Table, control_cell, score_cell
from interp.studies.learning.result import (
    NAIVE,
    STEERED,
    ImageRun,
    LanguageRun,
    arm_title,
    arms_of,
    by_signal,
    fixed_value,
    is_random,
    main_arm,
    main_runs,
    prompt_onset,
    typical,
)
from interp.testbeds.concepts.elicitation import CONTROL_OF


def times_table(runs: Sequence[ImageRun], rule: LearningRule) -> Table:
    """Median learning times with intervals over runs, by signal."""
    rows = tuple(
        (
            f"{signal:g}",
            *(
                time_cell(typical([run.learned(name, rule) for run in group]))
                for name in ("colour", "size", "joint", "seen")
            ),
        )
        for signal, group in by_signal(runs).items()
    )
    return Table(
        "Learned at step: median [95 % over runs]",
        ("Δcolour", "Colour", "Size", "Both (held-out)", "Seen classes"),
        rows,
    )


def runs_table(runs: Sequence[ImageRun], rule: LearningRule) -> Table:
    """Every run's own learning times, with where and how it turned."""
    rows = tuple(
        (
            str(run),
            *(step_cell(run.learned(name, rule)) for name in ("colour", "size", "joint", "seen")),
            turn_cell(run.turn),
        )
        for run in runs
    )
    return Table(
        "Each run", ("Run", "Colour", "Size", "Both (held-out)", "Seen classes", "Turn"), rows
    )


def turns_table(runs: Sequence[ImageRun]) -> Table:
    """By signal how many trajectories turn, between which headings, and how many straight ways with
    the same noise would.
    """
    rows = []
    for signal, group in by_signal(runs).items():
        turns = [run.turn for run in group if run.turn is not None]
        found = [turn for turn in turns if turn.found]
        before, after = (
            f"{np.median([value(turn) for turn in found]):.0f}°" if found else MISSING
            for value in (_before, _after)
        )
        chance = f"{np.mean([turn.by_chance for turn in found]):.3f}" if found else MISSING
        rows.append(
            (
                f"{signal:g}",
                f"{len(found)} of {len(turns)}",
                before.replace("-", "−"),
                after.replace("-", "−"),
                chance,
            )
        )
    header = (
        "Δcolour",
        "Runs that turn",
        "Heading before (median)",
        "After",
        "Straight ways with a turn as large (control)",
    )
    return Table("Turns in the plane of colour (0°) and size (90°)", header, tuple(rows))


def lags_table(runs: Sequence[ImageRun], rule: LearningRule) -> Table | None:
    """By signal and intervention: when it works, how much earlier than asking, at the best of its
    grid and at one fixed value.
    """
    rows: list[tuple[str, ...]] = []
    muted = set()
    for signal, group in by_signal(runs).items():
        for arm in arms_of(group):
            if is_random(arm):
                muted.add(len(rows))
            value = fixed_value(group, arm)
            lag = lag_of(group, arm, rule)
            fixed = (
                MISSING
                if value is None
                else f"{time_cell(_elicited(group, arm, rule, value))} (at {value})"
            )
            earlier = score_cell(None if lag is None else lag.earlier)
            rows.append(
                (
                    f"{signal:g}, {arm_title(arm)}",
                    time_cell(_elicited(group, arm, rule)),
                    fixed,
                    lag_cell(lag),
                    earlier,
                )
            )
    header = (
        "Δcolour, intervention",
        "Works from step (best of grid)",
        "At one fixed value",
        "Lag of asking",
        "Earlier in (chance .5)",
    )
    return Table("Interventions", header, tuple(rows), frozenset(muted)) if rows else None


def lag_of(runs: Sequence[ImageRun], arm: str, rule: LearningRule) -> Lag | None:
    """The lag of asking behind an intervention; None where no run reached either."""
    asked, made = [run.asked(rule) for run in runs], [run.elicited(arm, rule) for run in runs]
    return elicitation_lag(asked, made) if any(time.reached for time in asked + made) else None


def over_random(runs: Sequence[ImageRun], rule: LearningRule) -> Score | None:
    """How often the main intervention works before random shifts do; None without either, or where
    no run reached either.
    """
    arms = arms_of(runs)
    main = main_arm(arms)
    random = None if main is None else control_arm(main, arms)
    if main is None or random is None:
        return None
    by_chance, made = (
        [run.elicited(random, rule) for run in runs],
        [run.elicited(main, rule) for run in runs],
    )
    return (
        elicitation_lag(by_chance, made).earlier
        if any(time.reached for time in by_chance + made)
        else None
    )


def control_arm(arm: str, arms: Sequence[str]) -> str | None:
    """The random arm beside which an intervention is to be read: its own, or the first."""
    own = CONTROL_OF.get(arm)
    return own if own in arms else next((other for other in arms if is_random(other)), None)


def variants_table(runs: Sequence[ImageRun], rule: LearningRule) -> Table | None:
    """Median learning times of runs whose settings differ, beside the experiment's own of the same
    signal; None without such runs.
    """
    varied = [run for run in runs if run not in main_runs(runs)]
    if not varied:
        return None
    rows = []
    for signal, group in by_signal(varied).items():
        plain = [run for run in main_runs(runs) if run.signal == signal]
        for variant, some in [
            ("as it is", plain),
            *((name, [run for run in group if run.variant == name]) for name in _variants(group)),
        ]:
            times = [
                time_cell(typical([run.learned(name, rule) for run in some])) if some else MISSING
                for name in NAIVE
            ]
            rows.append((f"{signal:g}, {variant}", *times))
    header = ("Δcolour, variant", "Colour", "Size", "Both (held-out)", "Seen classes")
    return Table("Learned at step: median [95 % over runs]", header, tuple(rows))


def _variants(runs: Sequence[ImageRun]) -> list[str]:
    return sorted({run.variant for run in runs})


def onsets_table(run: LanguageRun, rule: LearningRule, *, right: bool = False) -> Table:
    """When each concept comes as asked, can be read, and can be brought about; by its share, or
    with `right` by being the likelier.
    """
    track = run.track
    arms = [arm for arm in STEERED if all(arm in concept.steered for concept in track.concepts)]
    rows = []
    for concept in track.concepts:
        values = [concept.naive, *(concept.arm(arm) for arm in arms)]
        cells = [
            onset_cell(prompt_onset(track.steps, (one > 0.5).astype(float) if right else one, rule))
            for one in values
        ]
        rows.append((concept.name, *cells))
    what = (
        "the right continuation is likelier than the foil"
        if right
        else "the share of the right continuation"
    )
    header = ("Concept", "Asked", *(f"Steered: {arm_title(arm)}" for arm in arms))
    return Table(
        f"First step at which {what} is {rule}, best factor at each checkpoint", header, tuple(rows)
    )


def shifts_table(run: LanguageRun) -> Table:
    """What steering does to the right continuation's log-probability at the last checkpoint, at one
    fixed factor.
    """
    track, factor = run.track, min(1, len(run.track.factors) - 1)
    rows = []
    for concept in track.concepts:
        arms = [arm for arm in STEERED if arm in concept.shifts]
        shifts = [
            score_cell(concept.shift(arm, len(track.steps) - 1, factor), signed=True)
            for arm in arms
        ]
        readable = score_cell(concept.readable[-1])
        rows.append((concept.name, readable, *shifts))
    header = ("Concept", "Told apart (AUROC)", "Own", "Transported", "Final", "Random (control)")
    caption = (
        f"At the last checkpoint, step {track.steps[-1]:,}: change of the log-probability "
        f"(nats) at factor {track.factors[factor]:g}"
    )
    return Table(caption, header[: 2 + len(arms)], tuple(rows))


def births_table(run: LanguageRun, rule: LearningRule) -> Table | None:
    """When the feature that detects each concept was born, beside when the concept was learned."""
    if run.history is None or not run.features:
        return None
    rows = []
    for feature in run.features:
        concept = run.track.concept(feature.concept)
        learned = prompt_onset(run.track.steps, concept.naive, rule)
        detects = f"{score_cell(feature.detects)} ({control_cell(feature.detects)})"
        rows.append(
            (
                feature.concept,
                detects,
                born_cell(feature.born, feature.detects),
                onset_cell(learned),
            )
        )
    header = (
        "Concept",
        "Its feature detects it (AUROC; median feature)",
        "Born at step",
        "Concept learned, asked",
    )
    return Table("Births of features and learning of concepts", header, tuple(rows))


def born_cell(born: int | None, detects: Score) -> str:
    """A birth; in brackets where the feature is not shown to detect the concept, since it then says
    nothing about it.
    """
    text = "lived too short" if born is None else f"{born:,}"
    return text if detects.low > 0.5 else f"({text})"


def likeness_table(run: LanguageRun) -> Table:
    """How like the last checkpoint's the representations were, at up to ten checkpoints."""
    track = run.track
    places = sorted(
        {round(place) for place in np.linspace(0, len(track.steps) - 1, min(10, len(track.steps)))}
    )
    rows = tuple(
        (
            f"{track.steps[place]:,}",
            f"{track.cka[place]:.2f}",
            f"{track.relative[place]:.2f}",
            score_cell(track.transport[place]),
            score_cell(track.unmoved[place]),
            control_cell(track.transport[place]),
        )
        for place in places
    )
    header = (
        "Step",
        "CKA",
        "Relative",
        "Explained by a rotation",
        "Without one",
        "Random rotation",
    )
    return Table("Likeness to the last checkpoint", header, rows)


def time_cell(time: TypicalTime | None) -> str:
    """A median time over runs as text, `751 [373, > 2,400], 8 of 8`; a dash where none is known."""
    if time is None:
        return MISSING
    value, low, high = (
        f"> {time.last:,.0f}" if end is None else f"{end:,.0f}"
        for end in (time.value, time.low, time.high)
    )
    return f"{value} [{low}, {high}], {time.reached} of {time.n}"


def step_cell(time: LearningTime) -> str:
    """A run's learning time as text: `751`, or `> 2,400`."""
    return f"> {time.last:,.0f}" if time.step is None else f"{time.step:,.0f}"


def onset_cell(times: tuple[LearningTime, LearningTime, LearningTime]) -> str:
    """An onset with its interval over prompts as text."""
    value, low, high = (step_cell(time) for time in times)
    return f"{value} [{low}, {high}]"


def lag_cell(lag: Lag | None) -> str:
    """A lag as text; “beyond”: asking did not work as long as was watched; “below”: the
    intervention did not.
    """
    if lag is None:
        return "neither works"
    ends = (lag.median, lag.low, lag.high)
    value, low, high = (
        f"{end:,.0f}".replace("-", "−") if math.isfinite(end) else "beyond" if end > 0 else "below"
        for end in ends
    )
    return f"{value} [{low}, {high}]"


def turn_cell(turn: Turn | None) -> str:
    """A turn as text; a dash where there were too few checkpoints to tell."""
    if turn is None:
        return MISSING
    if not turn.found:
        return f"none (p = {turn.p:.2f})"
    return (
        f"step {turn.step:,.0f}: {turn.before:.0f}° to {turn.after:.0f}° (p = {turn.p:.3f})"
    ).replace("-", "−")


def _elicited(
    runs: Sequence[ImageRun], arm: str, rule: LearningRule, value: str | None = None
) -> TypicalTime | None:
    return typical([run.elicited(arm, rule, value) for run in runs])


def _before(turn: Turn) -> float:
    return turn.before


def _after(turn: Turn) -> float:
    return turn.after


def require_runs(runs: Sequence[ImageRun], language: LanguageRun | None) -> None:
    """See that there is something to show, every run once.

    Raises:
        InputError: neither image runs nor a language run, or a signal and seed twice.
    """
    if not runs and language is None:
        raise InputError("there is nothing to show; give image runs, a language run, or both")
    named = [str(run) for run in runs]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"the run of {twice} is given twice; give every run once")
