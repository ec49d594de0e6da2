"""evaluate_steering(): does adding a direction make the model speak of the concept, fluently, more than a random direction of the same strength does?

What is chosen (the strength, the sign) is chosen on one set of prompts and reported on another. Random directions go through the same selection; the
control of a concept is the best of them *on the report prompts*, and no steering at all is in the same table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, Score, bootstrap_mean, silent
from interp.models.decoding import Sampling
from interp.models.transformer import TransformerModel
from interp.steering.generation import Cell, Continuation, continuations
from interp.steering.judge import Judgement
from interp.steering.strengths import Calibration, calibrate

SELECTION_PROMPTS = ("I think that", "The most important thing is")
REPORT_PROMPTS = ("It seems to me that", "Yesterday we talked about", "My friend told me that", "This is a story about")
STRENGTHS = (0.15, 0.4, 1.0)
Route = Literal["native", "companion", "random", "unsteered"]


@dataclass(frozen=True)
class Target:
    """A direction to be judged: `direction [d]` at `site`, for a concept; `family` groups targets whose mean is reported (method and route)."""

    family: str
    method: str
    route: Route
    site: str
    direction: Float[Tensor, " d"]
    concept: str
    feature_id: str


@dataclass(frozen=True)
class Protocol:
    """What was done, the same for every target and control.

    `strengths` are KL divergences in nats; with `signs=(1, -1)` both directions are tried, each calibrated for itself; `n_random` random directions per
    site are the controls; `samples` continuations per prompt.
    """

    strengths: tuple[float, ...] = STRENGTHS
    signs: tuple[int, ...] = (1,)
    selection_prompts: tuple[str, ...] = SELECTION_PROMPTS
    report_prompts: tuple[str, ...] = REPORT_PROMPTS
    samples: int = 2
    n_random: int = 4
    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=20))

    def __post_init__(self) -> None:
        shared = set(self.selection_prompts) & set(self.report_prompts)
        if shared or not self.selection_prompts or not self.report_prompts:
            raise InputError(f"selection and report prompts must be non-empty and differ; both hold {sorted(shared)}")
        if self.n_random < 1 or self.samples < 1 or not self.strengths:
            raise InputError(f"at least one strength, sample and random control is needed, got {self}")


@dataclass(frozen=True)
class Dose:
    """One strength and sign of one target: what was asked and measured, the scores on the report prompts, and the texts."""

    kl: float
    sign: int
    measured_kl: float
    alpha: float
    reached: bool
    selection_score: float
    score: Score | None
    concept_score: float
    fluency_score: float
    continuations: tuple[Continuation, ...]
    values: Float[np.ndarray, " text"]


@dataclass(frozen=True)
class TargetResult:
    """A target's doses, the one chosen on the selection prompts, its score on the report prompts and the margin over the best control."""

    target: Target
    doses: tuple[Dose, ...]
    chosen: int | None
    control: Score
    margin: Score | None

    @property
    def report(self) -> Score | None:
        """The score on the report prompts at the chosen strength; None when no strength was reachable."""
        return None if self.chosen is None else self.doses[self.chosen].score

    @property
    def beats_control(self) -> bool:
        """Whether the margin over the best control is above zero by more than its interval."""
        return self.margin is not None and self.margin.low > 0

    @property
    def unreachable(self) -> tuple[float, ...]:
        """The strengths that no multiple of the direction reached."""
        return tuple(dose.kl for dose in self.doses if not dose.reached)


@dataclass(frozen=True)
class FamilyResult:
    """A family's mean over its concepts, by strength and at the chosen strengths, with bootstrap intervals over concepts."""

    family: str
    method: str
    route: Route
    site: str
    curve: tuple[tuple[float, Score], ...]
    report: Score | None
    minus_best_control: Score | None
    unreachable: int
    is_control: bool


@dataclass(frozen=True)
class SteeringResult:
    """Everything `evaluate_steering` measured; controls are targets and families like all others."""

    protocol: Protocol
    targets: tuple[TargetResult, ...]
    controls: tuple[TargetResult, ...]
    families: tuple[FamilyResult, ...]
    unsteered: tuple[Continuation, ...]
    unsteered_scores: dict[str, Score]
    judged: int
    failed: int

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{family.family}</td><td>{family.report or 'not reached'}</td><td>{family.minus_best_control or ''}</td></tr>"
            for family in self.families
        )
        return f"<table><tr><th>family</th><th>score (0–2)</th><th>minus best control</th></tr>{rows}</table>"


def evaluate_steering(
    model: TransformerModel,
    targets: Sequence[Target],
    *,
    judge: Any,
    protocol: Protocol = Protocol(),  # noqa: B008 - frozen
    seed: int = 0,
    progress: Progress = silent,
) -> SteeringResult:
    """Steer with every target and with random controls at the same measured strengths, judge the texts, and compare.

    Raises:
        InputError: there are no targets, or the judge refuses a concept.

    Cost: (targets + random directions per site) × strengths × signs × prompts × samples continuations, generated in shared batches, and one more
    forward pass over each text for the judge.

    Example:
        >>> result = interp.evaluate_steering(model, targets, judge=judge)
        >>> result.families
    """
    if not targets:
        raise InputError("no targets to steer with; give at least one feature with a concept that the judge accepts")
    controls = _random_targets(targets, protocol.n_random, seed)
    everything = [*targets, *controls]
    calibrations = _calibrate_all(model, everything, protocol, progress)
    cells = _cells(everything, calibrations, protocol)
    texts = continuations(
        model, cells, (*protocol.selection_prompts, *protocol.report_prompts), protocol.samples, protocol.sampling, seed, progress=progress
    )
    flat = [text for group in texts for text in group]
    progress("judge", 0, 1, "pass")
    judged = judge.judge_many([text.prompt for text in flat], [text.text for text in flat])
    progress("judge", 1, 1, "pass")
    table = _Table(protocol, cells, texts, judged, seed)
    return _assemble(table, targets, controls, calibrations, judged_count=len(flat))


def _random_targets(targets: Sequence[Target], n_random: int, seed: int) -> list[Target]:
    """Random unit directions of every site used: dense, and where the site's own directions are sparse also sparse with the same support size."""
    result = []
    for site in dict.fromkeys(target.site for target in targets):
        here = [target for target in targets if target.site == site]
        width = len(here[0].direction)
        support = min(int((target.direction != 0).sum()) for target in here)
        for kind, size in {"dense": width, "sparse": support}.items():
            if kind == "sparse" and size == width:
                continue
            generator = torch.Generator().manual_seed(seed * 1000 + size)
            for number in range(n_random):
                direction = torch.zeros(width)
                direction[torch.randperm(width, generator=generator)[:size]] = torch.randn(size, generator=generator)
                unit = torch.nn.functional.normalize(direction, dim=0)
                result.append(Target(f"random {kind} at {site}", "random", "random", site, unit, "", f"random-{kind}-{site}-{number}"))
    return result


def _calibrate_all(
    model: TransformerModel, targets: Sequence[Target], protocol: Protocol, progress: Progress
) -> dict[tuple[int, int], tuple[Calibration, int]]:
    """Every target and sign to its row in a calibration; directions of one site share forward calls. Selection prompts only: reporting is separate."""
    found: dict[tuple[int, int], tuple[Calibration, int]] = {}
    for site in dict.fromkeys(target.site for target in targets):
        lanes = [(number, sign) for number, target in enumerate(targets) if target.site == site for sign in protocol.signs]
        directions = torch.stack([sign * targets[number].direction for number, sign in lanes])
        calibration = calibrate(model, protocol.selection_prompts, site, directions, protocol.strengths, progress=progress)
        found |= {lane: (calibration, row) for row, lane in enumerate(lanes)}
    return found


def _cells(targets: Sequence[Target], calibrations: dict[tuple[int, int], tuple[Calibration, int]], protocol: Protocol) -> list[Cell]:
    cells = [Cell(None, "", torch.zeros(0), 0.0, 1, 0.0, 0.0, True)]
    for (number, sign), (calibration, row) in calibrations.items():
        target = targets[number]
        for column, kl in enumerate(protocol.strengths):
            alpha, measured = float(calibration.alpha[row, column]), float(calibration.kl[row, column])
            reached = bool(calibration.reached[row, column])
            vector = sign * alpha * torch.nn.functional.normalize(target.direction.float(), dim=0)
            cells.append(Cell(number, target.site, vector, kl, sign, alpha, measured, reached))
    return cells


@dataclass(frozen=True)
class _Table:
    """All texts with their judgements, looked up by cell and concept."""

    protocol: Protocol
    cells: Sequence[Cell]
    texts: Sequence[Sequence[Continuation]]
    judged: Any
    seed: int

    def judgement(self, cell: int, concept: str) -> Judgement:
        start = sum(len(group) for group in self.texts[:cell])
        rows = slice(start, start + len(self.texts[cell]))
        part = replace(self.judged, probability=self.judged.probability[rows], fluency=self.judged.fluency[rows])
        judgement: Judgement = part([concept] * len(self.texts[cell]))
        return judgement

    def report_rows(self, cell: int) -> np.ndarray:
        return np.array([text.prompt in self.protocol.report_prompts for text in self.texts[cell]], dtype=bool)

    def dose(self, cell: int, concept: str) -> Dose:
        what = self.cells[cell]
        if not what.reached:
            return Dose(
                what.kl, what.sign, what.measured_kl, what.alpha, False, float("nan"), None, float("nan"), float("nan"), (), np.zeros(0)
            )
        judgement, report = self.judgement(cell, concept), self.report_rows(cell)
        values = judgement.score[report]
        kept = values[~np.isnan(values)]
        return Dose(
            what.kl,
            what.sign,
            what.measured_kl,
            what.alpha,
            True,
            float(np.nanmean(judgement.score[~report])),
            bootstrap_mean(kept, seed=self.seed) if len(kept) else None,
            float(np.nanmean(judgement.concept[report])),
            float(np.nanmean(judgement.fluency[report])),
            tuple(text for text, used in zip(self.texts[cell], report, strict=True) if used),
            values,
        )


def _assemble(
    table: _Table,
    targets: Sequence[Target],
    controls: Sequence[Target],
    calibrations: dict[tuple[int, int], tuple[Calibration, int]],
    judged_count: int,
) -> SteeringResult:
    concepts = list(dict.fromkeys(target.concept for target in targets))
    by_number: dict[int, list[int]] = {}
    for position, cell in enumerate(table.cells):
        if cell.target is not None:
            by_number.setdefault(cell.target, []).append(position)
    unsteered = {concept: table.dose(0, concept) for concept in concepts}
    random = {
        concept: [_doses(table, by_number[len(targets) + number], control, concept) for number, control in enumerate(controls)]
        for concept in concepts
    }
    best = {concept: _best_control(random[concept], unsteered[concept], targets, controls) for concept in concepts}
    results = tuple(
        _with_margin(_doses(table, by_number[number], target, target.concept), best[target.concept][target.site], table.seed)
        for number, target in enumerate(targets)
    )
    flat = tuple(replace(result, control=unsteered[concept].score or result.control) for concept in concepts for result in random[concept])
    scores = {concept: dose.score for concept, dose in unsteered.items() if dose.score is not None}
    families = _families(results, flat, unsteered, concepts, table.seed, table.protocol)
    return SteeringResult(table.protocol, results, flat, families, unsteered[concepts[0]].continuations, scores, judged_count, 0)


def _doses(table: _Table, cells: Sequence[int], target: Target, concept: str) -> TargetResult:
    doses = tuple(table.dose(cell, concept) for cell in cells)
    reached = [number for number, dose in enumerate(doses) if dose.reached and dose.score is not None]
    chosen = max(reached, key=lambda number: doses[number].selection_score) if reached else None
    nothing = Score(float("nan"), float("nan"), float("nan"), 0, table.seed)
    return TargetResult(replace(target, concept=concept), doses, chosen, nothing, None)


def _best_control(
    random: Sequence[TargetResult], unsteered: Dose, targets: Sequence[Target], controls: Sequence[Target]
) -> dict[str, Dose]:
    """For every site the control that scored highest on the report prompts: the best random direction there, or no steering if that is better."""
    best: dict[str, Dose] = {}
    for site in dict.fromkeys(target.site for target in targets):
        candidates = [result.doses[result.chosen] for result in random if result.target.site == site and result.chosen is not None]
        best[site] = max([unsteered, *candidates], key=lambda dose: dose.score.value if dose.score else -1.0)
    del controls
    return best


def _with_margin(result: TargetResult, control: Dose, seed: int) -> TargetResult:
    assert control.score is not None
    if result.chosen is None:
        return replace(result, control=control.score)
    # Texts are paired: same prompt, same sample, same random numbers.
    difference = result.doses[result.chosen].values - control.values
    margin = bootstrap_mean(difference[~np.isnan(difference)], seed=seed)
    return replace(result, control=control.score, margin=margin)


def _families(
    results: Sequence[TargetResult],
    controls: Sequence[TargetResult],
    unsteered: dict[str, Dose],
    concepts: Sequence[str],
    seed: int,
    protocol: Protocol,
) -> tuple[FamilyResult, ...]:
    names = list(dict.fromkeys(result.target.family for result in [*results, *controls]))
    families = [
        _family(name, [result for result in [*results, *controls] if result.target.family == name], seed, protocol) for name in names
    ]
    plain = bootstrap_mean(np.array([dose.score.value for dose in unsteered.values() if dose.score]), seed=seed)
    curve = tuple((kl, plain) for kl in protocol.strengths)
    return (*families, FamilyResult("no steering", "none", "unsteered", "", curve, plain, None, 0, True))


def _family(name: str, members: Sequence[TargetResult], seed: int, protocol: Protocol) -> FamilyResult:
    first = members[0].target
    curve = []
    for kl in protocol.strengths:
        at = [dose.score.value for result in members for dose in result.doses if dose.kl == kl and dose.score is not None]
        if at:
            curve.append((kl, bootstrap_mean(np.array(at), seed=seed)))
    reports = [result.report.value for result in members if result.report is not None]
    margins = [result.margin.value for result in members if result.margin is not None]
    return FamilyResult(
        name,
        first.method,
        first.route,
        first.site,
        tuple(curve),
        bootstrap_mean(np.array(reports), seed=seed) if reports else None,
        bootstrap_mean(np.array(margins), seed=seed) if margins else None,
        sum(len(result.unreachable) for result in members),
        first.route == "random",
    )
