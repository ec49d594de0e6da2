"""DirectionsResult: everything that a study of a generator's directions measures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from interp.core import InputError, Provenance, Score
from interp.core.display.markup import Html, block, element, facts, foreign, numeral, table
from interp.core.display.scores import axis_note, score_cells
from interp.diffusion.bottleneck.interchange import Interchange
from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.images.gate import Gate
from interp.diffusion.scores.dose import DoseResponse
from interp.diffusion.scores.effects import EditScore


@dataclass(frozen=True, eq=False)
class Contact:
    """A contact sheet: a row per sample, a column per strength (0: no edit)."""

    direction: str
    strengths: tuple[float, ...]
    picture: UInt8[np.ndarray, "down across 3"]


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodResult:
    """What one method's directions do.

    `directions` have length 1 over all steps. `strengths` give each the same measured effect,
    `wanted` standard deviations of the factor that it moves most (`reached`: to within a fifth).
    `effects` are half the differences between the mean changes of every factor at that strength and
    at its opposite; a cell's control is a random direction of equal norm at the same strength.
    `spanned` is, per factor, the share of the regression direction in the span of these, `chance`
    what is expected of random ones.
    """

    method: str
    supervised: bool
    directions: StepDirections
    strengths: tuple[float, ...]
    reached: tuple[bool, ...]
    effects: Mapping[str, Mapping[str, Score]]
    purity: Mapping[str, float]
    coverage: float
    separation: Score
    spanned: Mapping[str, float]
    chance: float
    sheets: tuple[Contact, ...] = field(metadata={"plain": False})
    seconds: float


@dataclass(frozen=True, eq=False, kw_only=True)
class DirectionsResult:
    """What goes through a site of a generator, and what directions there do.

    `gate` is None without data to compare the images with. `known` is False where plain measures
    (`interp.diffusion.images.plain_measures`) stand in for factors. `scores` has, per factor, the
    direction of `scored_method` at a strength chosen on other seeds, `curves` its dose-response
    curve; both are empty without a supervised method. `curved` scores edits along curves fitted to
    the same labels, with joint strengths that move one factor only. `samples` is a sheet of images
    without edits, `notes` say what was left out and why. Plain json (`interp.core.plain`) leaves
    the pictures out.
    """

    model: str
    site: str
    factors: tuple[str, ...]
    known: bool
    gate: Gate | None
    interchange: Interchange
    methods: tuple[MethodResult, ...]
    scored_method: str | None
    scores: Mapping[str, EditScore]
    curved: Mapping[str, EditScore]
    curves: Mapping[str, DoseResponse]
    sheets: tuple[Contact, ...] = field(metadata={"plain": False})
    samples: UInt8[np.ndarray, "down across 3"] = field(metadata={"plain": False})
    wanted: float
    notes: tuple[str, ...]
    provenance: Provenance

    def __getitem__(self, method: str) -> MethodResult:
        named = {found.method: found for found in self.methods}
        if method not in named:
            raise InputError(f"no method {method!r} was measured; there are {', '.join(named)}")
        return named[method]

    def _repr_html_(self) -> str:
        gate = (
            "not measured: no data was given"
            if self.gate is None
            else "passed"
            if self.gate.passed
            else "FAILED"
        )
        sure = sum(score.reached and score.beats_control for score in self.scores.values())
        verdict = (
            f"{sure} of {len(self.scores)} factors are moved as far as was asked, and by more than "
            "random directions move them."
        )
        about = [
            ("sanity gate", gate),
            (
                "factors",
                foreign(", ".join(self.factors))
                if self.known
                else "unknown; plain measures of a picture stand in",
            ),
            ("asked for, sd", f"{self.wanted:g}"),
            ("model", foreign(self.model)),
        ]
        notes = element("ul", *(element("li", note) for note in self.notes), kind="list")
        lead = element("p", element("b", verdict)) if self.scores else ""
        shown = block(
            "Directions", lead, facts(about), self._compared(), self._edits(), notes, name=self.site
        )
        return element("div", shown, Html(self.interchange._repr_html_()))

    def _compared(self) -> Html:
        scores = [found.separation for found in self.methods]
        rows = [
            (
                found.method,
                cell,
                f"{found.coverage:.0%}",
                f"{sum(found.reached)} of {len(found.reached)}",
                score.n,
                f"{found.seconds:.1f}",
            )
            for found, cell, score in zip(self.methods, score_cells(scores), scores, strict=True)
        ]
        title = (
            "Do directions move one factor each, and is every factor moved? Control: tables "
            f"of random numbers ({axis_note(scores)})"
        )
        header = ("method", "separation", "factors covered", "reached", "n", "seconds")
        return table(
            header,
            rows,
            caption=title,
            muted={number for number, found in enumerate(self.methods) if found.method == "random"},
        )

    def _edits(self) -> Html:
        curved = {f"{name}, curved": score for name, score in self.curved.items()}
        named = [*self.scores.items(), *curved.items()]
        if not named:
            return Html("")
        changes, leaks = [score.change for _, score in named], [score.leak for _, score in named]
        rows = [
            (
                foreign(name),
                change,
                leak,
                numeral(score.selectivity),
                score.change.n,
                "" if score.reached else "NOT REACHED",
            )
            for (name, score), change, leak in zip(
                named, score_cells(changes, signed=True), score_cells(leaks), strict=True
            )
        ]
        title = (
            f"Edits, in sd of the data; change: {axis_note(changes)}; leak into other "
            f"factors: {axis_note(leaks)}"
        )
        return table(("factor", "change", "leak", "selectivity", "n", ""), rows, caption=title)
