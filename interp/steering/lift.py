"""The likelihood lift: does steering make sentences of the concept likelier than others, more than
random directions do?

It needs no generation and no judge: it is deterministic, and sensitive where generated texts are
noisy.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, Score, silent
from interp.core.display.markup import Html, block, element, facts, foreign, numeral, table
from interp.core.display.scores import axis_note, score_cells
from interp.models.adapters.transformer import TransformerModel
from interp.steering.strengths import calibrate, steering_kl
from interp.steering.targets import SELECTION_PROMPTS, Target, random_targets
from interp.steering.text_effects import text_effects

RESAMPLES = 2000
LISTED = 40
SURE = 95.0
"""The verdict counts lifts above this percentage of random directions."""


@dataclass(frozen=True, kw_only=True)
class Lift:
    """How much likelier steering with one target makes its concept's sentences, in nats per token,
    compared to random directions.

    `score` is the mean change of log-probability per token of the concept's sentences minus that of
    the others; its interval is a bootstrap over sentences, its control the mean of the random
    directions. `percentile` is the share (%) of random directions with a smaller lift, ties
    counting half; for a sparse direction the smaller of the percentiles among dense and among
    sparse ones. `random` maps "dense" (and "sparse") to the lifts of the random directions that
    reached `kl`, `n_random` is the size of the smaller pool, and `changes [text]` are the changes
    of `LiftResult.texts` behind the score. If the target did not reach `kl`, `score` is None and
    `percentile` NaN.
    """

    target: Target
    kl: float
    measured_kl: float
    alpha: float
    reached: bool
    score: Score | None
    percentile: float
    n_random: int
    random: Mapping[str, Float[np.ndarray, " direction"]]
    changes: Float[np.ndarray, " text"]

    @property
    def p_value(self) -> float:
        """The chance of so large a lift among random directions: (1 + number as large) / (1 +
        number), the larger of the pools'.
        """
        if self.score is None or not self.n_random:
            return math.nan
        value = self.score.value
        return max(
            (1 + int((pool >= value).sum())) / (1 + len(pool))
            for pool in self.random.values()
            if len(pool)
        )

    def _repr_html_(self) -> str:
        return block(
            "Likelihood lift",
            _lift_table([self]),
            facts([("strength (KL, nats)", f"{self.kl:g}")]),
            name=self.target.feature_id,
        )


@dataclass(frozen=True, kw_only=True)
class LiftResult:
    """The lifts of all targets in order, and the sentences behind them; `concept_of [text]` is ""
    for a neutral sentence.
    """

    lifts: tuple[Lift, ...]
    texts: tuple[str, ...]
    concept_of: tuple[str, ...]
    kl: float
    n_random: int
    n_tokens: int
    seed: int

    def _repr_html_(self) -> str:
        above = sum(lift.percentile > SURE for lift in self.lifts)
        verdict = (
            f"{above:,} of {len(self.lifts):,} targets lift their concept's sentences more "
            f"than {SURE:.0f}% of random directions do."
        )
        own = sum(concept != "" for concept in self.concept_of)
        sentences = (
            f"{own:,} of concepts, {len(self.texts) - own:,} neutral, at most {self.n_tokens} "
            "tokens each"
        )
        hidden = len(self.lifts) - LISTED
        conditions = [
            ("strength (KL, nats)", f"{self.kl:g}"),
            ("random directions per site", self.n_random),
            ("sentences", sentences),
            ("seed", self.seed),
            ("targets not listed", f"{hidden:,}" if hidden > 0 else None),
        ]
        return block(
            "Likelihood lift",
            element("p", element("b", verdict)),
            _lift_table(self.lifts[:LISTED]),
            facts(conditions),
        )


def _lift_table(lifts: Sequence[Lift]) -> Html:
    scores = [lift.score for lift in lifts]
    rows = [
        (
            foreign(lift.target.family),
            foreign(lift.target.concept),
            cell if lift.reached else "not reached",
            numeral(lift.percentile),
            numeral(lift.p_value),
            f"{lift.n_random:,}",
            f"{0 if lift.score is None else lift.score.n:,}",
        )
        for lift, cell in zip(lifts, score_cells(scores, signed=True), strict=True)
    ]
    names = ("family", "concept", "lift, nats a token", "percentile", "p", "random directions", "n")
    caption = "Concept's sentences against others, and the place among random directions"
    return table(names, rows, caption=f"{caption} ({axis_note(scores)})")


def likelihood_lift(
    model: TransformerModel,
    targets: Sequence[Target],
    sentences: Mapping[str, Sequence[str]],
    neutral: Sequence[str],
    *,
    kl: float = 0.5,
    alphas: Sequence[float] | None = None,
    prompts: Sequence[str] = SELECTION_PROMPTS,
    n_random: int = 50,
    n_sentences: int = 8,
    n_neutral: int = 16,
    n_tokens: int = 24,
    seed: int = 0,
    progress: Progress = silent,
) -> LiftResult:
    """The likelihood lift of every target, compared to random directions at the same measured
    strength.

    `lift = mean_{s in concept} Δ(s) − mean_{s in others} Δ(s)`, where `Δ(s)` is the change of a
    sentence's log-probability per token under steering; others are neutral sentences and those of
    other concepts.

    Args:
        targets: directions with their sites and concepts; targets of a site share its random
            directions.
        sentences: held-out sentences by concept, including every target's; all of them count.
        neutral: sentences of no concept.
        kl: the strength (nats) of targets and random directions, calibrated on `prompts`.
        alphas: the targets' strengths if known (multiples of the unit directions); the random
            directions are still calibrated to `kl`.
        n_random: random directions per site and kind (dense; also sparse if a target of the site
            is).
        n_sentences: sentences used per concept, evenly spaced.
        n_neutral: neutral sentences used, evenly spaced.
        n_tokens: sentences are cut to this length.

    Raises:
        InputError: a concept has no sentences, there are no neutral ones, a direction is zero or of
            another width than its site, or a number is out of range.

    Cost: per site `(targets + random directions)·sentences` forward passes of at most `n_tokens`
    tokens *from the site on*; what comes before the site is computed once.

    Example:
        >>> held_out = {concept.name: concept.held_out for concept in concepts.concepts}
        >>> result = likelihood_lift(model, targets, held_out, concepts.neutral.held_out, kl=0.5)
        >>> [(lift.target.family, lift.score, lift.percentile) for lift in result.lifts]
    """
    _check(targets, sentences, neutral, alphas, (n_random, n_sentences, n_neutral))
    used = {concept: _spread(texts, n_sentences) for concept, texts in sentences.items()}
    used[""] = _spread(neutral, n_neutral)
    texts = tuple(text for own in used.values() for text in own)
    concept_of = np.array([concept for concept, own in used.items() for _ in own])
    lifts: dict[int, Lift] = {}
    for site in dict.fromkeys(target.site for target in targets):
        here = [number for number, target in enumerate(targets) if target.site == site]
        own = [targets[number] for number in here]
        known = None if alphas is None else [alphas[number] for number in here]
        random = random_targets(own, n_random, seed)
        cells = _strengths(model, prompts, own, random, kl=kl, alphas=known, progress=progress)
        change = text_effects(
            model,
            texts,
            site,
            torch.stack([cell.vector for cell in cells]),
            n_tokens=n_tokens,
            progress=progress,
        ).change
        lifts.update(
            zip(here, _compared(cells, change, len(own), concept_of, kl, seed), strict=True)
        )
    return LiftResult(
        lifts=tuple(lifts[number] for number in range(len(targets))),
        texts=texts,
        concept_of=tuple(concept_of.tolist()),
        kl=kl,
        n_random=n_random,
        n_tokens=n_tokens,
        seed=seed,
    )


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """A target or random direction at its strength."""

    target: Target
    vector: Float[Tensor, " d"]
    alpha: float
    measured_kl: float
    reached: bool


def _check(
    targets: Sequence[Target],
    sentences: Mapping[str, Sequence[str]],
    neutral: Sequence[str],
    alphas: Sequence[float] | None,
    counts: tuple[int, ...],
) -> None:
    if not targets:
        raise InputError("no targets to measure the lift of; give at least one")
    if alphas is not None and len(alphas) != len(targets):
        raise InputError(
            f"{len(alphas)} strengths were given for {len(targets)} targets; give one per target, "
            "or kl alone"
        )
    if min(counts) < 1:
        raise InputError(
            f"n_random, n_sentences and n_neutral are {counts}; at least one of each is needed"
        )
    for target in targets:
        if not sentences.get(target.concept):
            raise InputError(
                f"there are no sentences of {target.concept!r}; those with sentences are "
                f"{', '.join(sentences)}"
            )
    if not neutral:
        raise InputError("there are no neutral sentences to set the concept's against; give some")


def _spread(texts: Sequence[str], count: int) -> list[str]:
    """Up to `count` evenly spaced texts (the first ones may share a style)."""
    places = np.linspace(0, len(texts) - 1, min(count, len(texts))).round().astype(int)
    return [texts[place] for place in places]


def _strengths(
    model: TransformerModel,
    prompts: Sequence[str],
    own: Sequence[Target],
    random: Sequence[Target],
    *,
    kl: float,
    alphas: Sequence[float] | None,
    progress: Progress,
) -> list[_Cell]:
    """Every target, then every random direction, at its strength."""
    site, everything = own[0].site, [*own, *random]
    units = torch.nn.functional.normalize(
        torch.stack([target.direction.float().cpu() for target in everything]), dim=1
    )
    searched = units if alphas is None else units[len(own) :]
    found = calibrate(model, prompts, site, searched, (kl,), progress=progress)
    strength, measured, reached = found.alpha[:, 0], found.kl[:, 0], found.reached[:, 0]
    if alphas is not None:
        given = torch.tensor(list(alphas), dtype=torch.float32)
        strength = torch.cat([given, strength])
        measured = torch.cat(
            [steering_kl(model, prompts, site, given[:, None] * units[: len(own)]), measured]
        )
        reached = torch.cat([torch.ones(len(own), dtype=torch.bool), reached])
    return [
        _Cell(
            target=target,
            vector=alpha * unit,
            alpha=float(alpha),
            measured_kl=float(seen),
            reached=bool(met),
        )
        for target, unit, alpha, seen, met in zip(
            everything, units, strength, measured, reached, strict=True
        )
    ]


def _compared(
    cells: Sequence[_Cell],
    change: Float[np.ndarray, "cell text"],
    n_own: int,
    concept_of: np.ndarray,
    kl: float,
    seed: int,
) -> list[Lift]:
    """The lifts of the first `n_own` cells, the targets, against the others, random directions."""
    pools: dict[str, list[int]] = {}
    for number, cell in enumerate(cells[n_own:], n_own):
        kind = "sparse" if "sparse" in cell.target.family else "dense"
        pools.setdefault(kind, [])
        if cell.reached:
            pools[kind].append(number)
    result = []
    for cell, values in zip(cells[:n_own], change, strict=False):
        own = concept_of == cell.target.concept
        sparse = bool((cell.target.direction == 0).any())
        random = {
            kind: _difference(change[rows], own)
            for kind, rows in pools.items()
            if sparse or kind == "dense"
        }
        result.append(_lift(cell, values, own, random, kl, seed))
    return result


def _lift(
    cell: _Cell,
    values: Float[np.ndarray, " text"],
    own: np.ndarray,
    random: dict[str, np.ndarray],
    kl: float,
    seed: int,
) -> Lift:
    usable = [pool for pool in random.values() if len(pool)]
    score, percentile = None, math.nan
    if cell.reached:
        control = max((float(pool.mean()) for pool in usable), default=None)
        score = _score(values, own, control, seed)
        percentile = min((_percentile(score.value, pool) for pool in usable), default=math.nan)
    count = min((len(pool) for pool in random.values()), default=0)
    return Lift(
        target=cell.target,
        kl=kl,
        measured_kl=cell.measured_kl,
        alpha=cell.alpha,
        reached=cell.reached,
        score=score,
        percentile=percentile,
        n_random=count,
        random=random,
        changes=values,
    )


def _difference(
    change: Float[np.ndarray, "cell text"], own: np.ndarray
) -> Float[np.ndarray, " cell"]:
    return np.asarray(change[:, own].mean(axis=1) - change[:, ~own].mean(axis=1))


def _percentile(value: float, pool: np.ndarray) -> float:
    return float(100 * ((pool < value).mean() + (pool == value).mean() / 2))


def _score(values: np.ndarray, own: np.ndarray, control: float | None, seed: int) -> Score:
    """The difference of two means; each side is resampled by itself (Efron & Tibshirani 1993,
    §8.3).
    """
    generator = np.random.default_rng(seed)
    drawn = [
        side[generator.integers(len(side), size=(RESAMPLES, len(side)))].mean(axis=1)
        for side in (values[own], values[~own])
    ]
    return Score.of_draws(
        _difference(values[None], own)[0],
        drawn[0] - drawn[1],
        n=len(values),
        seed=seed,
        control=control,
    )
