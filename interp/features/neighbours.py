"""Neighbours: features of a site's dictionaries that point nearly the same way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Score, bootstrap_mean
from interp.core.display.markup import block, element, facts, foreign, numeral, table
from interp.decompose.dictionary import Dictionary
from interp.decompose.matching import Matching, match_directions

CONTROL_QUANTILE, SHUFFLES = 0.95, 20
LISTED = 10


@dataclass(frozen=True)
class Neighbour:
    """Another feature, the cosine of the directions, and the correlation of the coefficients over
    rows (None: unknown).
    """

    id: str
    cosine: float
    coactivation: float | None

    def _repr_html_(self) -> str:
        named = ("cosine", numeral(self.cosine)), ("coactivation", numeral(self.coactivation))
        return block("Neighbour", facts(named), name=self.id)


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest features of every feature, by id, and how near a feature comes by chance.

    `control[id]` is the 95 % quantile, over 20 shuffles of a feature, of the largest |cosine| that
    any other feature has with it. A shuffle puts the feature's own sizes on neurons drawn by how
    much its dictionary uses them: density and the use of neurons stay, which go together does not.
    A feature that is mainly one neuron comes near others by chance; a broad one does not.
    """

    nearest: Mapping[str, tuple[Neighbour, ...]]
    control: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def _repr_html_(self) -> str:
        first = [
            (own, found[0], self.control.get(own)) for own, found in self.nearest.items() if found
        ]
        beyond = sum(chance is not None and abs(one.cosine) > chance for _, one, chance in first)
        verdict = (
            f"{beyond:,} of {len(self.nearest):,} features have a neighbour nearer than 95% "
            "of the nearest by chance."
        )
        nearest = sorted(first, key=lambda row: -abs(row[1].cosine))[:LISTED]
        rows = [
            (foreign(own), foreign(one.id), *map(numeral, (one.cosine, chance, one.coactivation)))
            for own, one, chance in nearest
        ]
        header = ("feature", "nearest", "cosine", "by chance", "coactivation")
        caption = (
            f"The {len(rows)} features with the nearest neighbours; by chance: 95% quantile over "
            f"{SHUFFLES} shuffles"
        )
        body = table(header, rows, caption=caption)
        return block("Neighbours", element("p", element("b", verdict)), body)


def neighbourhood(
    dictionaries: Mapping[str, Dictionary],
    coefficients: Mapping[str, Float[Tensor, "row _"]] = MappingProxyType({}),
    *,
    count: int = 6,
    seed: int = 0,
) -> Neighbourhood:
    """The `count` other features with the largest |cosine| to each feature, among all dictionaries
    of one site.

    Args:
        dictionaries: by name; a feature's id is `name-number`.
        coefficients: `[row, feature]` on the same rows, by dictionary's name; coactivations with
            dictionaries left out are None.
        seed: of the control.

    Raises:
        InputError: no dictionary, different sites or widths, coefficients of different rows, or a
            count below 1.

    Cost: 21 products of all directions with all, one of all coefficients with all.

    Example:
        >>> dictionaries = {"snmf": snmf, "sae": sae}
        >>> found = neighbourhood(
        ...     dictionaries, {name: own.encode(acts) for name, own in dictionaries.items()}
        ... )
        >>> found.nearest["snmf-12"][0], found.control["snmf-12"]
    """
    _require_one_space(dictionaries, coefficients, count)
    ids = [f"{name}-{number}" for name, one in dictionaries.items() for number in range(len(one))]
    units = [_unit(one.directions) for one in dictionaries.values()]
    directions = torch.cat(units)
    cosines = (directions @ directions.T).numpy()
    together = _correlations(dictionaries, coefficients)
    size = np.abs(cosines)
    np.fill_diagonal(size, -1.0)
    order = np.argsort(-size, axis=1, kind="stable")[:, : min(count, len(ids) - 1)]
    nearest = {
        own: tuple(
            _neighbour(ids[other], float(cosines[row, other]), float(together[row, other]))
            for other in order[row]
            if size[row, other] > 0
        )
        for row, own in enumerate(ids)
    }
    generator = torch.Generator().manual_seed(seed)
    starts = accumulate(map(len, units[:-1]), initial=0)
    chance = [
        _chance(own, directions, start, generator) for own, start in zip(units, starts, strict=True)
    ]
    return Neighbourhood(nearest, dict(zip(ids, torch.cat(chance).tolist(), strict=True)))


def partners(
    first: Dictionary, second: Dictionary, *, signed: bool = True, seed: int = 0
) -> tuple[Matching, Score]:
    """One-to-one partners of two dictionaries of a site by cosine, and the mean over pairs with its
    interval.

    Features with a zero direction have no partner. The control matches the first dictionary's
    features after a shuffle (see `Neighbourhood`). With `signed=False` magnitudes are matched and
    averaged (PCA's signs mean nothing).

    Raises:
        InputError: different sites or widths, or all directions of a dictionary are zero.

    Source: Kuhn 1955 (assignment). Cost: cubic in the number of features, twice.

    Example:
        >>> matching, mean = partners(snmf, sae)
    """
    _require_one_space({"first": first, "second": second}, {}, 1)
    one, other = _unit(first.directions), _unit(second.directions)
    generator = torch.Generator().manual_seed(seed)
    found = _matched(one, other, signed)
    chance = _matched(_shuffled(one, generator), other, signed).cosines
    values = found.cosines if signed else np.abs(found.cosines)
    control = float((chance if signed else np.abs(chance)).mean())
    return found, bootstrap_mean(values, seed=seed, control=control)


def _matched(
    one: Float[Tensor, "feature d"], other: Float[Tensor, "other_feature d"], signed: bool
) -> Matching:
    here, there = torch.nonzero(one.any(dim=1))[:, 0], torch.nonzero(other.any(dim=1))[:, 0]
    if not len(here) or not len(there):
        raise InputError(
            "every direction of a dictionary is empty, so nothing can be matched; fit it on more "
            "rows"
        )
    matching = match_directions(one[here], other[there], signed=signed)
    return Matching(here.numpy()[matching.first], there.numpy()[matching.second], matching.cosines)


def _require_one_space(
    dictionaries: Mapping[str, Dictionary], coefficients: Mapping[str, Tensor], count: int
) -> None:
    spaces = {(one.site, one.directions.shape[1]) for one in dictionaries.values()}
    if len(spaces) != 1:
        raise InputError(
            f"dictionaries are of {sorted(spaces) or 'nothing'}; give at least one, all of the "
            "same site and width"
        )
    rows = {len(values) for values in coefficients.values()}
    if len(rows) > 1:
        raise InputError(
            f"coefficients are of {sorted(rows)} rows; encode the same activations with every "
            "dictionary"
        )
    if count < 1:
        raise InputError(f"count is {count}; ask for at least one neighbour")


def _unit(directions: Float[Tensor, "feature d"]) -> Float[Tensor, "feature d"]:
    return torch.nn.functional.normalize(directions.detach().float().cpu(), dim=1)


def _shuffled(
    directions: Float[Tensor, "feature d"], generator: torch.Generator
) -> Float[Tensor, "feature d"]:
    """Every feature's sizes on neurons drawn without replacement by how much the dictionary uses
    them, with signs as frequent as the neuron's.
    """
    usage = directions.abs().mean(dim=0)
    positive = directions.clamp(min=0).mean(dim=0) / usage.clamp(min=1e-30)
    # The order of exponential waiting times is such a draw (Efraimidis & Spirakis 2006).
    waits = -torch.log(torch.rand(directions.shape, generator=generator).clamp(min=1e-30)) / usage
    neurons = waits.argsort(dim=1)
    signs = torch.where(
        torch.rand(directions.shape, generator=generator) < positive[neurons], 1.0, -1.0
    )
    sizes = directions.abs().sort(dim=1, descending=True).values
    return _unit(torch.zeros_like(directions).scatter_(1, neurons, sizes * signs))


def _chance(
    own: Float[Tensor, "feature d"],
    every: Float[Tensor, "all d"],
    start: int,
    generator: torch.Generator,
) -> Float[Tensor, " feature"]:
    """Each feature's 95 % quantile over shuffles; in `every` the features of `own` begin at `start`
    (none is its own neighbour).
    """
    places = torch.arange(len(own))
    largest = []
    for _ in range(SHUFFLES):
        sizes = (_shuffled(own, generator) @ every.T).abs()
        sizes[places, start + places] = 0
        largest.append(sizes.amax(dim=1))
    return torch.stack(largest).quantile(CONTROL_QUANTILE, dim=0)


def _correlations(
    dictionaries: Mapping[str, Dictionary], coefficients: Mapping[str, Tensor]
) -> Float[np.ndarray, "all all"]:
    """Pearson correlations of coefficients; NaN where one feature's are unknown or constant."""
    n_rows = next((len(values) for values in coefficients.values()), 1)
    blank = torch.full((n_rows, 1), torch.nan)
    known = {name: values.float().cpu() for name, values in coefficients.items()}
    stacked = torch.cat(
        [known.get(name, blank.expand(-1, len(one))) for name, one in dictionaries.items()], dim=1
    )
    centred = stacked - stacked.mean(dim=0)
    norms = centred.norm(dim=0)
    scaled = centred / torch.where(norms > 0, norms, torch.nan)
    return np.asarray((scaled.T @ scaled).numpy())


def _neighbour(name: str, cosine: float, together: float) -> Neighbour:
    return Neighbour(name, cosine, None if np.isnan(together) else together)
