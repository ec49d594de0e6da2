"""The whole study: is a generator sound, what goes through its bottleneck, what do directions
there move?
"""

import itertools
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import ConvergenceWarning, InputError, Progress, Provenance, silent
from interp.diffusion.bottleneck.interchange import Interchange, interchange
from interp.diffusion.directions.by_name import SUPERVISED, UNLABELLED, Method, find_directions
from interp.diffusion.directions.projection import overlap
from interp.diffusion.directions.regression import regression_directions
from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.edits.curved import CurvedEdit, fit_curves
from interp.diffusion.edits.straight import AnyEdit, Edit
from interp.diffusion.images.factors import LEAST, Reader, factor_table
from interp.diffusion.images.gate import UNREADABLE, Gate, sanity_gate
from interp.diffusion.images.plain_measures import read_layout
from interp.diffusion.images.sheets import sheet
from interp.diffusion.records.activations import record_steps
from interp.diffusion.sampling.ddim import sample, unclipped
from interp.diffusion.sampling.labels import Labels
from interp.diffusion.scores.decoupling import decoupled_strengths
from interp.diffusion.scores.dose import DoseResponse, dose_response
from interp.diffusion.scores.effects import (
    EditScore,
    Trial,
    effect_matrix,
    fresh_trial,
    judge_of,
    random_edit,
    score_edit,
)
from interp.diffusion.scores.matching_strength import (
    NEAR,
    Matched,
    common_strength,
    strength_for,
)
from interp.diffusion.scores.separation import separation, separation_at
from interp.models import UNetModel
from interp.studies.directions.measures import contact_sheet, counting
from interp.studies.directions.protocol import DirectionsProtocol
from interp.studies.directions.result import Contact, DirectionsResult, MethodResult

COLUMNS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""A scored direction's contact sheet, in multiples of the strength with the wanted effect."""

DOSES = (-2.0, -1.0, 1.0, 2.0)


def study_directions(
    model: UNetModel,
    read: Reader | None,
    data: Float[Tensor, "example channel y x"] | None,
    protocol: DirectionsProtocol | None = None,
    *,
    labels: Labels | None = None,
    progress: Progress = silent,
) -> DirectionsResult:
    """Test whether a generator is sound, which factors go through a site, and what every method's
    directions there move.

    In this order: the sanity gate, the interchange test, recording, each method's directions at
    strengths of equal measured effect with their table of effects, and the scores and dose-response
    curves of the protocol's first supervised method.

    Args:
        read: what reads the images' factors. None: plain measures (`read_layout`), as the result
            then says.
        data: images that the generator was trained on, for the gate and the units. None: no gate,
            and units are standard deviations of generated images.
        labels: for a network that takes them, one per image of the protocol's largest set.

    Raises:
        InputError: a site, number or label that does not fit, or unreadable images.

    Cost: about 430,000 evaluations of the UNet with the protocol's defaults and four factors; 3 to
    5 minutes for the shipped networks.

    Example:
        >>> model = load_generator("data/models/shapes_study")
        >>> study_directions(model, read_shapes, shape_images(2000, seed=99).images)
    """
    start = time.perf_counter()
    # Once for all, so that a scheduler that clips is warned of only once.
    model = unclipped(model)
    with counting(model.module) as counted:
        result = _Study(
            model, read, data, protocol or DirectionsProtocol(), labels, progress
        ).result()
    cost = {"seconds": round(time.perf_counter() - start, 1), "evaluations": float(counted[0])}
    return replace(result, provenance=replace(result.provenance, cost=cost))


class _Study:
    """One run: its recordings, its judge, and the images to choose strengths and to report on."""

    def __init__(
        self,
        model: UNetModel,
        read: Reader | None,
        data: Tensor | None,
        protocol: DirectionsProtocol,
        labels: Labels | None,
        progress: Progress,
    ) -> None:
        most = max(
            protocol.samples, protocol.gate, protocol.pairs, protocol.choose, protocol.report
        )
        if labels is not None and len(labels) < most:
            raise InputError(
                f"{len(labels)} labels were given; give {most}, one per image of the largest set"
            )
        self.model, self.protocol, self.labels, self.progress = model, protocol, labels, progress
        self.known, self.read, self.data = read is not None, read or read_layout, data
        self.notes: list[str] = []

    def result(self) -> DirectionsResult:
        gate, swapped = self._gate(), self._interchange()
        self._record()
        methods = tuple(
            found for method in self.protocol.methods if (found := self._method(method)) is not None
        )
        scored = next((found for found in methods if found.supervised), None)
        scores, curves, sheets = self._scored(scored)
        curved = {} if scored is None else self._curved()
        seed, model = self.protocol.directions_seed, self.model
        return DirectionsResult(
            model=model.name,
            site=self.acts.site,
            factors=self.judge.factors,
            known=self.known,
            gate=gate,
            interchange=swapped,
            methods=methods,
            scored_method=None if scored is None else scored.method,
            scores=scores,
            curved=curved,
            curves=curves,
            sheets=sheets,
            samples=sheet(self.report.images[:24], 12),
            wanted=self.protocol.wanted,
            notes=tuple(self.notes),
            provenance=Provenance(
                "directions",
                parameters=asdict(self.protocol),
                seed=seed,
                model=model.name,
                weight_hash=model.weight_hash,
                site=self.acts.site,
            ),
        )

    def _gate(self) -> Gate | None:
        if self.data is None:
            return None
        protocol = self.protocol
        made = sample(
            self.model,
            protocol.gate,
            seed=protocol.gate_seed,
            steps=protocol.steps,
            labels=self._labels(protocol.gate),
            progress=self.progress,
        )
        return sanity_gate(made, self.data, self.read, seed=protocol.gate_seed)

    def _interchange(self) -> Interchange:
        protocol = self.protocol
        return interchange(
            self.model,
            self.read,
            sites=(protocol.site,),
            pairs=protocol.pairs,
            seed=protocol.interchange_seed,
            steps=protocol.steps,
            windows=_parts(protocol.steps, protocol.windows),
            labels=self._labels(protocol.pairs),
            progress=self.progress,
        )

    def _record(self) -> None:
        """Images to find directions in, the judge, and other images to choose strengths and to
        report on.
        """
        protocol = self.protocol
        self.acts = record_steps(
            self.model,
            protocol.samples,
            protocol.site,
            seed=protocol.directions_seed,
            steps=protocol.steps,
            labels=self._labels(protocol.samples),
            progress=self.progress,
        )
        self.judge = judge_of(self.read, self.acts.images if self.data is None else self.data)
        table = factor_table(self.read, self.acts.images)
        self.values = {name: table[name] for name in self.judge.factors}
        missing = torch.stack(list(self.values.values())).isnan().any(dim=0)
        unreadable = float(missing.double().mean())
        if unreadable >= UNREADABLE:
            self.notes.append(
                f"Of the {protocol.samples} images that directions were found in (seed "
                f"{protocol.directions_seed}), {100 * unreadable:.1f} % have a factor that cannot "
                f"be read; the gate, on other images, allows less than {100 * UNREADABLE:.0f} %."
            )
        self.truth = regression_directions(self.acts, self.values)
        self.choose = self._trial(protocol.choose, protocol.strengths_seed)
        self.report = self._trial(protocol.report, protocol.report_seed)

    def _labels(self, count: int) -> Labels | None:
        return None if self.labels is None else self.labels[:count]

    def _trial(self, count: int, seed: int) -> Trial:
        return fresh_trial(
            self.model,
            self.judge,
            count,
            seed=seed,
            steps=self.protocol.steps,
            labels=self._labels(count),
        )

    def _method(self, method: Method) -> MethodResult | None:
        """One method's directions and their table, or None and a note if it finds none."""
        start = time.perf_counter()
        if self.labels is not None and method in UNLABELLED:
            self.notes.append(
                f"{method}: left out, it runs the network without labels and this one needs them."
            )
            return None
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always", ConvergenceWarning)
            try:
                found = self._measured(method, self._found(method).scaled(1.0), start)
            except InputError as error:
                self.notes.append(f"{method}: left out, {error}.")
                return None
        self.notes += [f"{method}: {' '.join(str(item.message).split())}" for item in raised]
        return found

    def _found(self, method: Method) -> StepDirections:
        protocol = self.protocol
        return find_directions(
            method,
            self.model,
            self.acts,
            self.values,
            count=max(2, protocol.count or len(self.judge.factors)),
            per_side=protocol.per_side,
            iterations=protocol.iterations,
            seed=protocol.directions_seed,
        )

    def _measured(self, method: Method, directions: StepDirections, start: float) -> MethodResult:
        protocol, seed = self.protocol, self.protocol.report_seed
        found = self._strengths(directions)
        strengths = tuple(matched.strength for matched in found)
        effects = effect_matrix(
            self.report.first(protocol.matrix),
            directions,
            strengths,
            seed=seed,
            progress=self.progress,
        )
        sheets = [
            self._sheet(directions[name], (-strength, 0.0, strength))
            for name, strength in zip(directions.names, strengths, strict=True)
        ]
        table = separation(effects.scores)
        shares = overlap(self.truth, directions)
        return MethodResult(
            method=method,
            supervised=method in SUPERVISED,
            directions=directions,
            strengths=strengths,
            reached=tuple(matched.reached for matched in found),
            effects=effects.scores,
            purity=table.purity,
            coverage=table.coverage,
            separation=separation_at(effects.changes, seed=seed),
            spanned=dict(zip(self.judge.factors, shares.tolist(), strict=True)),
            chance=min(1.0, len(directions) / directions.flat.shape[1]),
            sheets=tuple(sheets),
            seconds=round(time.perf_counter() - start, 1),
        )

    def _strengths(self, directions: StepDirections) -> list[Matched]:
        """The strength of every direction at which it has the wanted effect."""
        choose = self.choose.first(max(LEAST, self.protocol.choose // 2))
        wanted, most = self.protocol.wanted, 4 * self._length()
        found: list[Matched] = []
        for name in directions.names:
            # Directions of one method need similar strengths: start from the last one's.
            start = found[-1].strength if found else 0.1 * self._length()
            found.append(common_strength(choose, directions[name], wanted, start=start, most=most))
        return found

    def _length(self) -> float:
        """The spread of the samples, which sets where strengths begin and end."""
        return float(self.acts.values.std(dim=0).norm())

    def _scored(
        self, found: MethodResult | None
    ) -> tuple[dict[str, EditScore], dict[str, DoseResponse], tuple[Contact, ...]]:
        if found is None:
            return {}, {}, ()
        scores, curves, sheets = {}, {}, []
        for place, factor in enumerate(found.directions.names):
            direction = found.directions[factor]
            scores[factor] = score = self._score(direction, factor, found.strengths[place])
            sheets.append(self._sheet(direction, [dose * score.strength for dose in COLUMNS]))
            try:
                curves[factor] = self._curve(direction, factor, score.strength)
            except InputError as error:
                self.notes.append(f"{factor}: no dose-response curve, {error}.")
            self.progress("scores", place + 1, len(found.directions), "factor")
        return scores, curves, tuple(sheets)

    def _score(self, direction: StepDirections, factor: str, near: float) -> EditScore:
        """The direction's effect on its factor at the strength chosen on other images."""
        wanted, most = self.protocol.wanted, 10 * self._length()
        chosen = strength_for(self.choose, direction, factor, wanted, start=near, most=most)
        return self._judged(Edit(direction, (chosen.strength,)), factor, chosen.reached)

    def _judged(self, edit: AnyEdit, factor: str, reached: bool) -> EditScore:
        """An edit's effect on the reported images, beside random directions."""
        seed = self.protocol.report_seed
        controls = [random_edit(edit, seed=seed + i) for i in range(self.protocol.controls)]
        return score_edit(self.report, edit, controls, factor, seed=seed, reached=reached)

    def _curve(self, direction: StepDirections, factor: str, strength: float) -> DoseResponse:
        trial, seed = self.report.first(self.protocol.curve), self.protocol.report_seed
        return dose_response(
            trial, direction, factor, [dose * strength for dose in DOSES], seed=seed
        )

    def _sheet(self, direction: StepDirections, strengths: Sequence[float]) -> Contact:
        few = self.report.first(self.protocol.shown)
        return contact_sheet(
            self.model, few.images, direction, strengths, seed=few.seed, labels=few.labels
        )

    def _curved(self) -> dict[str, EditScore]:
        """Edits along curves at the last steps, each with joint strengths that move one factor."""
        protocol, scores = self.protocol, {}
        if protocol.curved_steps == 0:
            return {}
        window = range(max(0, protocol.steps - protocol.curved_steps), protocol.steps)
        try:
            curves = fit_curves(
                self.acts, self.values, degree=protocol.degree, seed=protocol.directions_seed
            )
        except InputError as error:
            self.notes.append(f"curved edits: left out, {error}.")
            return {}

        def edit(strengths: tuple[float, ...]) -> CurvedEdit:
            return CurvedEdit(curves=curves, strengths=strengths, window=window)

        for place, factor in enumerate(curves.factors):
            found = decoupled_strengths(
                self.choose,
                edit,
                len(curves.factors),
                factor,
                protocol.wanted,
                tolerance=0.05 * protocol.wanted,
            )
            reached = found.missed <= NEAR * protocol.wanted
            scores[factor] = self._judged(edit(found.strengths), factor, reached)
            self.progress("curved edits", place + 1, len(curves.factors), "factor")
        return scores


def _parts(steps: int, count: int) -> tuple[range, ...]:
    """A run's steps in equal parts."""
    ends = [round(steps * i / count) for i in range(count + 1)] if count else [0]
    return tuple(range(low, high) for low, high in itertools.pairwise(ends) if high > low)
