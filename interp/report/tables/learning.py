"""Tables of learning dynamics: learning times, turns, lags, and a language model's concepts."""

import math
from collections.abc import Mapping

import numpy as np

from interp.core import Score
from interp.core.display.markup import MISSING
from interp.dynamics.lags import Lag
from interp.dynamics.language.tracking import LanguageTrack
from interp.dynamics.learning_times import LearningRule, LearningTime, TypicalTime
from interp.dynamics.turns import Turn
from interp.report.tables.features import Table, control_cell, score_cell
from interp.studies.learning.result import STEERED, LanguageResult, LearningResult, Onset, is_random

_MEASURES = {"colour": "Colour", "size": "Size", "joint": "Both (held-out)", "seen": "Seen classes"}
_CAPTION = "Learned at step: median [95 % over runs]"
_ARMS = {
    "over_prompt": "over-prompting",
    "linear": "linear shift of colour",
    "linear_size": "linear shift of size",
    "mid": "steering at mid (h-space)",
    "random": "random directions",
    "random_mid": "random directions at mid",
    "own": "its own direction",
    "transported": "final direction, transported",
    "final": "final direction as it is",
}


def arm_title(arm: str) -> str:
    """An intervention's name in figures and tables."""
    return _ARMS.get(arm, arm.replace("_", " "))


def times_table(found: LearningResult) -> Table:
    """Median learning times with intervals over runs, by signal."""
    rows = tuple((f"{group.signal:g}", *_typical_cells(group.typical)) for group in found.signals)
    return Table(_CAPTION, ("Δcolour", *_MEASURES.values()), rows)


def variants_table(found: LearningResult) -> Table | None:
    """Median learning times of runs with other settings, beside the experiment's own of the same
    signal; None without such runs.
    """
    rows = tuple(
        (f"{one.signal:g}, {one.variant or 'as it is'}", *_typical_cells(one.typical))
        for one in found.variants
    )
    return Table(_CAPTION, ("Δcolour, variant", *_MEASURES.values()), rows) if rows else None


def runs_table(found: LearningResult) -> Table:
    """Every run's learning times and turn."""
    rows = tuple(
        (
            str(run),
            *(step_cell(group.learned[name][place]) for name in _MEASURES),
            turn_cell(group.plane.turns[place]),
        )
        for group in found.signals
        for place, run in enumerate(group.runs)
    )
    return Table("Each run", ("Run", *_MEASURES.values(), "Turn"), rows)


def turns_table(found: LearningResult) -> Table:
    """By signal, how many trajectories turn, their headings, and how many straight ones with the
    same noise would turn.
    """
    rows = []
    for group in found.signals:
        turned = group.turned
        headings = (
            MISSING if angle is None else f"{angle:.0f}°".replace("-", "−")
            for angle in (turned.before, turned.after)
        )
        chance = MISSING if turned.by_chance is None else f"{turned.by_chance:.3f}"
        rows.append((f"{group.signal:g}", f"{turned.found} of {turned.n}", *headings, chance))
    header = (
        "Δcolour",
        "Runs that turn",
        "Heading before (median)",
        "After",
        "Straight ways with a turn as large (control)",
    )
    return Table("Turns in the plane of colour (0°) and size (90°)", header, tuple(rows))


def lags_table(found: LearningResult) -> Table | None:
    """By signal and intervention: from when it works, at the best of its grid and at a fixed
    factor, and by how much prompting lags.
    """
    cases = [(group, arm) for group in found.signals for arm in group.arms]
    rows = tuple(
        (
            f"{group.signal:g}, {arm_title(arm.arm)}",
            time_cell(arm.best),
            MISSING if arm.fixed is None else f"{time_cell(arm.fixed)} (at {arm.factor:g})",
            lag_cell(arm.lag),
            MISSING if arm.lag is None else score_cell(arm.lag.earlier),
        )
        for group, arm in cases
    )
    header = (
        "Δcolour, intervention",
        "Works from step (best of grid)",
        "At one fixed value",
        "Lag of asking",
        "Earlier in (chance .5)",
    )
    muted = frozenset(place for place, (_, arm) in enumerate(cases) if is_random(arm.arm))
    return Table("Interventions", header, rows, muted) if rows else None


def onsets_table(found: LanguageResult, rule: LearningRule, *, right: bool = False) -> Table:
    """When each concept works prompted and steered, by its share or, with `right`, by being the
    likelier.
    """
    arms = [arm for arm in STEERED if all(arm in concept.elicited for concept in found.concepts)]
    rows = []
    for concept in found.concepts:
        onsets = concept.likelier if right else {"naive": concept.prompted, **concept.elicited}
        rows.append((concept.name, *(onset_cell(onsets[arm]) for arm in ("naive", *arms))))
    what = (
        "the right continuation is likelier than the foil"
        if right
        else "the share of the right continuation"
    )
    caption = f"First step at which {what} is {rule}, best factor at each checkpoint"
    header = ("Concept", "Asked", *(f"Steered: {arm_title(arm)}" for arm in arms))
    return Table(caption, header, tuple(rows))


def shifts_table(found: LanguageResult) -> Table:
    """What steering at a fixed factor adds to the right continuation's log-probability at the last
    checkpoint.
    """
    track = found.run.track
    rows = []
    for concept in found.concepts:
        readable = score_cell(track.concept(concept.name).readable[-1])
        shifts = [score_cell(score, signed=True) for score in concept.shifts.values()]
        rows.append((concept.name, readable, *shifts))
    header = ("Concept", "Told apart (AUROC)", "Own", "Transported", "Final", "Random (control)")
    caption = (
        f"At the last checkpoint, step {track.steps[-1]:,}: change of the log-probability "
        f"(nats) at factor {track.factors[track.fixed]:g}"
    )
    return Table(caption, header[: len(rows[0])], tuple(rows))


def births_table(found: LanguageResult) -> Table | None:
    """When each concept's detecting feature was born, and when the concept was learned."""
    if found.run.history is None or not found.run.features:
        return None
    rows = tuple(
        (
            feature.concept,
            f"{score_cell(feature.detects)} ({control_cell(feature.detects)})",
            born_cell(feature.born, feature.detects),
            onset_cell(found.concept(feature.concept).prompted),
        )
        for feature in found.run.features
    )
    header = (
        "Concept",
        "Its feature detects it (AUROC; median feature)",
        "Born at step",
        "Concept learned, asked",
    )
    return Table("Births of features and learning of concepts", header, rows)


def born_cell(born: int | None, detects: Score) -> str:
    """A birth, in brackets where the feature does not clearly detect the concept."""
    text = "lived too short" if born is None else f"{born:,}"
    return text if detects.low > 0.5 else f"({text})"


def likeness_table(track: LanguageTrack) -> Table:
    """Similarity to the last checkpoint's representation, at up to ten checkpoints."""
    count = len(track.steps)
    places = sorted({round(place) for place in np.linspace(0, count - 1, min(10, count))})
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
    """A median time over runs as text, `751 [373, > 2,400], 8 of 8`, or a dash."""
    if time is None:
        return MISSING
    value, low, high = (
        f"> {time.last:,.0f}" if end is None else f"{end:,.0f}"
        for end in (time.value, time.low, time.high)
    )
    return f"{value} [{low}, {high}], {time.reached} of {time.n}"


def step_cell(time: LearningTime) -> str:
    """A learning time as text, `751` or `> 2,400`."""
    return f"> {time.last:,.0f}" if time.step is None else f"{time.step:,.0f}"


def onset_cell(times: Onset) -> str:
    """An onset with its interval over prompts as text."""
    value, low, high = (step_cell(time) for time in times)
    return f"{value} [{low}, {high}]"


def lag_cell(lag: Lag | None) -> str:
    """A lag as text; “beyond”: prompting never worked; “below”: the intervention never did."""
    if lag is None:
        return "neither works"
    ends = (lag.median, lag.low, lag.high)
    value, low, high = (
        f"{end:,.0f}".replace("-", "−") if math.isfinite(end) else "beyond" if end > 0 else "below"
        for end in ends
    )
    return f"{value} [{low}, {high}]"


def turn_cell(turn: Turn | None) -> str:
    """A turn as text; a dash where checkpoints were too few."""
    if turn is None:
        return MISSING
    if not turn.found:
        return f"none (p = {turn.p:.2f})"
    return (
        f"step {turn.step:,.0f}: {turn.before:.0f}° to {turn.after:.0f}° (p = {turn.p:.3f})"
    ).replace("-", "−")


def _typical_cells(times: Mapping[str, TypicalTime]) -> list[str]:
    return [time_cell(times.get(name)) for name in _MEASURES]
