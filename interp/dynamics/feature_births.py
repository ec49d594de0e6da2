"""Features across checkpoints: one dictionary each, and when every feature was born and died."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.core import ConvergenceWarning, InputError, Progress, Score, bootstrap_mean, silent
from interp.decompose import fit_snmf, match_directions
from interp.decompose.snmf.nnls import solve_nnls
from interp.dynamics.feature_chains import Chain, chains_of

PATIENCE = 5
TOLERANCE = 1e-3


@dataclass(frozen=True)
class BirthRule:
    """When a feature is present, and when it is still the same.

    It is present at a checkpoint if it carries at least `share` of the activations' energy,
    `Σ coefficient² / ‖acts‖²`. Features of neighbouring checkpoints are the same if the assignment
    pairs them and their cosine is at least `same`. A feature is born at the first checkpoint where
    it is present and dies at the first where it no longer is; it counts if it lives at least `hold`
    checkpoints.
    """

    share: float = 1e-3
    same: float = 0.7
    hold: int = 3

    def __post_init__(self) -> None:
        if not (0 <= self.share < 1 and 0 < self.same <= 1 and self.hold >= 1):
            raise InputError(
                f"{self}: give a share from 0 to 1, a cosine above 0 up to 1, and a hold of at "
                "least 1 checkpoint"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureHistory:
    """The dictionaries of a run and the chains of features through them.

    `shares` are of energy, `errors` the relative squared error of each dictionary. `links` is the
    share of features present that continue at the next checkpoint (by the rule); its interval is
    over checkpoints, its control the same with checkpoints shuffled. `p_value` is how often a
    shuffled order links at least as many.
    """

    steps: tuple[int, ...]
    directions: Float[Tensor, "checkpoint feature d"]
    shares: Float[np.ndarray, "checkpoint feature"]
    errors: Float[np.ndarray, " checkpoint"]
    chains: tuple[Chain, ...]
    rule: BirthRule
    links: Score
    p_value: float

    @property
    def births(self) -> list[int | None]:
        """The step at which each chain begins; None if at the first checkpoint."""
        return [None if chain.first == 0 else self.steps[chain.first] for chain in self.chains]

    @property
    def deaths(self) -> list[int | None]:
        """The first step after each chain; None if it lived to the end."""
        return [
            None if chain.last == len(self.steps) - 1 else self.steps[chain.last + 1]
            for chain in self.chains
        ]

    def drift(self, chain: Chain) -> Float[np.ndarray, " checkpoint_of_the_chain"]:
        """The cosine of a chain's direction at each of its checkpoints with its last."""
        rows = torch.stack(
            [
                self.directions[chain.first + place, feature]
                for place, feature in enumerate(chain.features)
            ]
        )
        rows = rows / rows.norm(dim=1, keepdim=True)
        return (rows @ rows[-1]).double().numpy()

    def encode(
        self, checkpoint: int, values: Float[Tensor, "row d"]
    ) -> Float[Tensor, "row feature"]:
        """The coefficients of new rows in one checkpoint's dictionary."""
        directions = self.directions[checkpoint]
        return solve_nnls(directions @ values.float().T, directions @ directions.T).T.contiguous()

    def to_dict(self) -> dict[str, object]:
        """Steps, errors, links and chains (birth, death, drift), ready for json."""
        chains = [
            {
                "features": list(chain.features),
                "born": born,
                "died": died,
                "drift": [round(float(value), 4) for value in self.drift(chain)],
            }
            for chain, born, died in zip(self.chains, self.births, self.deaths, strict=True)
        ]
        return {
            "steps": list(self.steps),
            "errors": [round(float(error), 5) for error in self.errors],
            "rule": asdict(self.rule),
            "links": self.links.to_dict(),
            "p_value": self.p_value,
            "chains": chains,
        }


def feature_births(
    steps: Sequence[int],
    acts: Iterable[Float[Tensor, "_ _"]],
    n_features: int,
    *,
    sparsity: float = 0.05,
    rule: BirthRule = BirthRule(),
    max_iterations: int = 40,
    shuffles: int = 200,
    seed: int = 0,
    progress: Progress = silent,
) -> FeatureHistory:
    """Semi-NMF at every checkpoint, each warm-started from the one before, and the features
    followed through them.

    A warm-started fit needs no annealing (`start` of `fit_snmf`); it ends when 5 iterations
    improve the error by less than 0.1 % together. An unused feature is re-pointed at what is
    explained worst: its direction jumps, its chain ends, another begins. Neighbouring dictionaries
    are paired by the assignment with the largest sum of cosines.

    Args:
        steps: rising.
        acts: `[row, d]` per step, of the same tokens at the same site; a generator keeps one
            checkpoint in memory.
        n_features: of every dictionary.
        sparsity: fraction of the d entries that a direction keeps.
        max_iterations: of every warm-started fit; the first is a full `fit_snmf`.
        shuffles: permutations of the checkpoints for the null.

    Raises:
        InputError: steps do not rise or are fewer than 3, or the activations differ in shape.

    Sources: Shafran, Geiger & Geva 2025 for the factorisation; the warm start after SAE-Track (Xu
    et al. 2024). Cost: `4·row·d·n_features` FLOP an iteration.

    Example:
        >>> history = feature_births(
        ...     steps, [record(load(step), texts, "L2.mlp").values for step in steps], 60
        ... )
        >>> history.births
    """
    _require_steps(steps)
    directions: list[Tensor] = []
    shares, errors, shape = [], [], None
    for place, values in enumerate(acts):
        shape = _require_place(place, len(steps), values, shape)
        directions.append(
            _next_dictionary(values, directions, n_features, sparsity, max_iterations, seed)
        )
        share, error = _shares(values, directions[-1])
        shares.append(share)
        errors.append(error)
        progress("features at checkpoints", place + 1, len(steps), "checkpoint")
    if len(directions) != len(steps):
        raise InputError(f"{len(directions)} activations for {len(steps)} steps; give one for each")
    stacked, present = torch.stack(directions), np.stack(shares) >= rule.share
    found_links = _links(stacked, present, rule)
    links, p_value = _linked(found_links, stacked, present, rule, shuffles, seed)
    return FeatureHistory(
        steps=tuple(steps),
        directions=stacked,
        shares=np.stack(shares),
        errors=np.asarray(errors),
        chains=chains_of(found_links, present, rule.hold),
        rule=rule,
        links=links,
        p_value=p_value,
    )


def _next_dictionary(
    values: Float[Tensor, "row d"],
    before: Sequence[Tensor],
    n_features: int,
    sparsity: float,
    max_iterations: int,
    seed: int,
) -> Float[Tensor, "feature d"]:
    if not before:
        return fit_snmf(values, n_features, sparsity=sparsity, seed=seed).directions
    with warnings.catch_warnings():
        # A few iterations from the neighbour are enough; the errors are in the result.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit_snmf(
            values,
            n_features,
            sparsity=sparsity,
            start=before[-1],
            max_iterations=max_iterations,
            tolerance=TOLERANCE,
            patience=PATIENCE,
            seed=seed,
        ).directions


def _shares(
    values: Float[Tensor, "row d"], directions: Float[Tensor, "feature d"]
) -> tuple[Float[np.ndarray, " feature"], float]:
    """Each feature's share of the energy, and the relative squared error."""
    coefficients = solve_nnls(directions @ values.float().T, directions @ directions.T)
    energy = values.float().square().sum()
    error = (values.float() - coefficients.T @ directions).square().sum() / energy
    weights = coefficients.square().sum(dim=1) * directions.square().sum(dim=1) / energy
    return weights.double().numpy(), float(error)


def _links(
    directions: Float[Tensor, "checkpoint feature d"],
    present: Bool[np.ndarray, "checkpoint feature"],
    rule: BirthRule,
) -> Int[np.ndarray, "gap feature"]:
    """For every feature present, its number at the next checkpoint, or -1."""
    links = np.full((len(directions) - 1, directions.shape[1]), -1)
    for place in range(len(directions) - 1):
        here, there = _same(directions, present, rule, place, place + 1)
        links[place, here] = there
    return links


def _same(
    directions: Float[Tensor, "checkpoint feature d"],
    present: Bool[np.ndarray, "checkpoint feature"],
    rule: BirthRule,
    first: int,
    second: int,
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """The features that two checkpoints share, by number."""
    matching = match_directions(directions[first], directions[second])
    there = present[first, matching.first] & present[second, matching.second]
    same = (matching.cosines >= rule.same) & there
    return matching.first[same], matching.second[same]


def _linked(
    links: Int[np.ndarray, "gap feature"],
    directions: Float[Tensor, "checkpoint feature d"],
    present: Bool[np.ndarray, "checkpoint feature"],
    rule: BirthRule,
    shuffles: int,
    seed: int,
) -> tuple[Score, float]:
    """The share of features that continue, against shuffled checkpoints, and its p-value."""
    cosines = _all_links(directions, present, rule)
    observed = _gap_shares(np.arange(len(directions)), cosines, present)
    generator = np.random.default_rng(seed)
    null = np.array(
        [
            _gap_shares(generator.permutation(len(directions)), cosines, present).mean()
            for _ in range(shuffles)
        ]
    )
    score = bootstrap_mean(observed, seed=seed, control=float(null.mean()) if shuffles else None)
    return score, float((1 + (null >= observed.mean() - 1e-12).sum()) / (1 + shuffles))


def _all_links(
    directions: Float[Tensor, "checkpoint feature d"],
    present: Bool[np.ndarray, "checkpoint feature"],
    rule: BirthRule,
) -> Float[np.ndarray, "checkpoint checkpoint"]:
    """How many features each two checkpoints share, computed once for all shuffles."""
    count = len(directions)
    shared = np.zeros((count, count))
    for first, second in combinations(range(count), 2):
        pairs, _ = _same(directions, present, rule, first, second)
        shared[first, second] = shared[second, first] = len(pairs)
    return shared


def _gap_shares(
    order: Int[np.ndarray, " checkpoint"],
    shared: Float[np.ndarray, "checkpoint checkpoint"],
    present: Bool[np.ndarray, "checkpoint feature"],
) -> Float[np.ndarray, " gap"]:
    here, there = order[:-1], order[1:]
    counts = present.sum(axis=1)
    return np.asarray(shared[here, there] / np.minimum(counts[here], counts[there]).clip(min=1))


def _require_steps(steps: Sequence[int]) -> None:
    if len(steps) < 3 or any(later <= earlier for earlier, later in pairwise(steps)):
        raise InputError(f"steps are {list(steps)}; give at least 3 that rise")


def _require_place(
    place: int, count: int, values: Float[Tensor, "row d"], shape: tuple[int, ...] | None
) -> tuple[int, ...]:
    if place >= count:
        raise InputError(f"there are more activations than the {count} steps; give one for each")
    if shape is not None and tuple(values.shape) != shape:
        raise InputError(
            f"activations {place} are {tuple(values.shape)}, those before {shape}; record the same "
            "tokens at the same site"
        )
    return tuple(values.shape)
