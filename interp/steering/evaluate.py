"""`evaluate_steering`: does adding a direction produce the concept, fluently, more than a random
direction does?

Strength and sign are selected on one set of prompts and reported on another, for random directions
too. A concept's control is the best of them, or of no steering, *on the report prompts*.
"""

from collections.abc import Sequence

import torch

from interp.core import InputError, Progress, silent
from interp.models.adapters.transformer import TransformerModel
from interp.steering.against_controls import against_controls
from interp.steering.generation import Cell, continuations
from interp.steering.judged_texts import judge_texts
from interp.steering.judges.judge import Judge, MeasuredJudge
from interp.steering.results import SteeringResult
from interp.steering.strengths import Calibration, calibrate
from interp.steering.targets import Protocol, Target, random_targets

NO_STEERING = Cell(
    target=None,
    site="",
    vector=torch.zeros(0),
    kl=0.0,
    sign=1,
    alpha=0.0,
    measured_kl=0.0,
    reached=True,
)


def evaluate_steering(
    model: TransformerModel,
    targets: Sequence[Target],
    *,
    judge: Judge,
    protocol: Protocol = Protocol(),  # noqa: B008 - frozen
    seed: int = 0,
    progress: Progress = silent,
) -> SteeringResult:
    """Steer with every target and with random controls at the same measured strengths, and compare
    the judged texts.

    Raises:
        InputError: there are no targets, a direction is zero or of another width than its site, or
            the judge refuses a concept.

    Cost: `(targets + random directions per site)·strengths·signs·prompts·samples` continuations in
    shared batches, and one call of the judge: targets' texts for their own concept, controls' for
    every concept.

    Example:
        >>> result = interp.evaluate_steering(model, targets, judge=judge)
        >>> result.families
    """
    _check(model, targets, judge)
    controls = random_targets(targets, protocol.n_random, seed)
    everything = [*targets, *controls]
    cells = [NO_STEERING, *_cells(model, everything, protocol, progress)]
    prompts = (*protocol.selection_prompts, *protocol.report_prompts)
    texts = continuations(
        model, cells, prompts, protocol.samples, protocol.sampling, seed, progress=progress
    )
    progress("judge", 0, 1, "pass")
    table = judge_texts(judge, cells, texts, _wanted(cells, targets), protocol, seed)
    progress("judge", 1, 1, "pass")
    return against_controls(table, targets, controls)


def _check(model: TransformerModel, targets: Sequence[Target], judge: Judge) -> None:
    if not targets:
        raise InputError(
            "no targets to steer with; give at least one feature with a concept that the judge "
            "accepts"
        )
    for target in targets:
        width = model.sites.width(target.site)
        if target.direction.shape != (width,):
            raise InputError(
                f"{target.feature_id} is {tuple(target.direction.shape)} but {target.site} {width} "
                "wide; give a direction of that site"
            )
        if not float(target.direction.norm()) > 0:
            raise InputError(
                f"the direction of {target.feature_id} at {target.site} has no length or is not "
                "finite; leave it out"
            )
        # Here, because a refusal after hours of generation would be too late.
        if isinstance(judge, MeasuredJudge) and target.concept in judge.reliability.refused:
            raise InputError(
                f"the judge refuses {target.concept!r}; choose among "
                f"{', '.join(judge.reliability.accepted)}"
            )


def _cells(
    model: TransformerModel, targets: Sequence[Target], protocol: Protocol, progress: Progress
) -> list[Cell]:
    """Every target, sign and strength, calibrated on the selection prompts only."""
    cells = []
    for site in dict.fromkeys(target.site for target in targets):
        lanes = [
            (number, sign)
            for number, target in enumerate(targets)
            if target.site == site
            for sign in protocol.signs
        ]
        directions = torch.stack(
            [sign * targets[number].direction.float().cpu() for number, sign in lanes]
        )
        found = calibrate(
            model,
            protocol.selection_prompts,
            site,
            directions,
            protocol.strengths,
            progress=progress,
        )
        units = torch.nn.functional.normalize(directions, dim=1)
        for row, (number, sign) in enumerate(lanes):
            cells += _doses(number, site, sign, units[row], found, row)
    return cells


def _doses(
    number: int, site: str, sign: int, unit: torch.Tensor, found: Calibration, row: int
) -> list[Cell]:
    return [
        Cell(
            target=number,
            site=site,
            vector=alpha * unit,
            kl=kl,
            sign=sign,
            alpha=float(alpha),
            measured_kl=float(found.kl[row, column]),
            reached=bool(found.reached[row, column]),
        )
        for column, (kl, alpha) in enumerate(zip(found.targets, found.alpha[row], strict=True))
    ]


def _wanted(cells: Sequence[Cell], targets: Sequence[Target]) -> list[tuple[int, str]]:
    """Which cells are judged for which concepts: targets for their own, controls for all."""
    concepts = list(dict.fromkeys(target.concept for target in targets))
    return [
        (position, concept)
        for position, cell in enumerate(cells)
        for concept in (
            concepts
            if cell.target is None or cell.target >= len(targets)
            else [targets[cell.target].concept]
        )
    ]
