"""Neighbours: which features, of any dictionary of a site, point nearly the same way or fire on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Score, bootstrap_mean
from interp.decompose.dictionary import Dictionary
from interp.decompose.matching import Matching, match_directions

CONTROL_QUANTILE = 0.95


@dataclass(frozen=True)
class Neighbour:
    """Another feature, the cosine of both directions, and the correlation of both features' coefficients over rows (None: not known)."""

    id: str
    cosine: float
    coactivation: float | None


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest features of every feature, by id, and per dictionary how near a feature comes by chance.

    `control[name]` is the 95 % quantile, over a dictionary's features, of the largest |cosine| that any listed feature has with a feature
    whose entries were dealt out anew: each neuron's entries go to other features of the same dictionary, so which neurons matter is kept
    and what goes together is not.
    """

    nearest: Mapping[str, tuple[Neighbour, ...]]
    control: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def neighbourhood(
    dictionaries: Mapping[str, Dictionary],
    coefficients: Mapping[str, Float[Tensor, "row _"]] = MappingProxyType({}),
    *,
    count: int = 6,
    seed: int = 0,
) -> Neighbourhood:
    """The `count` features with the largest |cosine| to each feature, among all dictionaries of one site, itself left out.

    Args:
        dictionaries: by name; a feature's id is `name-number`.
        coefficients: `[row, feature]` of the same rows for every dictionary, by name; without a dictionary's, its coactivations are None.
        count: how many neighbours are listed.
        seed: of the control.

    Raises:
        InputError: no dictionary, different sites or widths, coefficients of different rows, or a count below 1.

    Cost: one product of all directions with all, one of all coefficients with all.

    Example:
        >>> found = neighbourhood({"snmf": snmf, "sae": sae}, {"snmf": snmf.encode(acts), "sae": sae.encode(acts)})
        >>> found.nearest["snmf-12"][0], found.control["snmf"]
    """
    _require_one_space(dictionaries, coefficients, count)
    ids = [f"{name}-{number}" for name, one in dictionaries.items() for number in range(len(one))]
    directions = torch.cat([_unit(one.directions) for one in dictionaries.values()])
    cosines = (directions @ directions.T).numpy()
    together = _correlations(dictionaries, coefficients)
    size = np.abs(cosines)
    np.fill_diagonal(size, -1.0)
    order = np.argsort(-size, axis=1, kind="stable")[:, : min(count, len(ids) - 1)]
    nearest = {
        own: tuple(
            _neighbour(ids[other], float(cosines[row, other]), float(together[row, other])) for other in order[row] if size[row, other] > 0
        )
        for row, own in enumerate(ids)
    }
    generator = torch.Generator().manual_seed(seed)
    control = {name: _chance(_unit(one.directions), directions, generator) for name, one in dictionaries.items()}
    return Neighbourhood(nearest, control)


def partners(first: Dictionary, second: Dictionary, *, signed: bool = True, seed: int = 0) -> tuple[Matching, Score]:
    """One-to-one partners of two dictionaries of a site by cosine, and the mean over pairs with its interval.

    Features with an empty direction have no partner. The score's control is the mean over partners found after the first dictionary's
    entries were dealt out anew within each neuron. With `signed=False` magnitudes are matched and averaged (PCA's signs mean nothing).

    Raises:
        InputError: different sites or widths, or a dictionary with nothing but empty directions.

    Source: Kuhn 1955 (assignment). Cost: cubic in the number of features, twice.

    Example:
        >>> matching, mean = partners(snmf, sae)
    """
    _require_one_space({"first": first, "second": second}, {}, 1)
    one, other = _unit(first.directions), _unit(second.directions)
    generator = torch.Generator().manual_seed(seed)
    found, chance = _matched(one, other, signed), _matched(_dealt(one, generator), other, signed)
    values, by_chance = (item.cosines if signed else np.abs(item.cosines) for item in (found, chance))
    return found, bootstrap_mean(values, seed=seed, control=float(by_chance.mean()))


def _matched(one: Float[Tensor, "feature d"], other: Float[Tensor, "other_feature d"], signed: bool) -> Matching:
    here, there = (torch.nonzero(side.any(dim=1))[:, 0] for side in (one, other))
    if not len(here) or not len(there):
        raise InputError("every direction of a dictionary is empty, so nothing can be matched; fit it on more rows")
    matching = match_directions(one[here], other[there], signed=signed)
    return Matching(here.numpy()[matching.first], there.numpy()[matching.second], matching.cosines)


def _require_one_space(dictionaries: Mapping[str, Dictionary], coefficients: Mapping[str, Tensor], count: int) -> None:
    spaces = {(one.site, one.directions.shape[1]) for one in dictionaries.values()}
    if len(spaces) != 1:
        raise InputError(f"dictionaries are of {sorted(spaces) or 'nothing'}; give at least one, all of the same site and width")
    rows = {len(values) for values in coefficients.values()}
    if len(rows) > 1:
        raise InputError(f"coefficients are of {sorted(rows)} rows; encode the same activations with every dictionary")
    if count < 1:
        raise InputError(f"count is {count}; ask for at least one neighbour")


def _unit(directions: Float[Tensor, "feature d"]) -> Float[Tensor, "feature d"]:
    return torch.nn.functional.normalize(directions.detach().float().cpu(), dim=1)


def _dealt(directions: Float[Tensor, "feature d"], generator: torch.Generator) -> Float[Tensor, "feature d"]:
    order = torch.rand(directions.shape, generator=generator).argsort(dim=0)
    return _unit(directions.gather(0, order))


def _chance(own: Float[Tensor, "feature d"], every: Float[Tensor, "all d"], generator: torch.Generator) -> float:
    largest = (_dealt(own, generator) @ every.T).abs().amax(dim=1)
    return float(torch.quantile(largest, CONTROL_QUANTILE))


def _correlations(dictionaries: Mapping[str, Dictionary], coefficients: Mapping[str, Tensor]) -> Float[np.ndarray, "all all"]:
    """Pearson's correlation of coefficients; NaN where one feature's are unknown or constant."""
    n_rows = next((len(values) for values in coefficients.values()), 1)
    blank = torch.full((n_rows, 1), torch.nan)
    known = {name: values.float().cpu() for name, values in coefficients.items()}
    stacked = torch.cat([known.get(name, blank.expand(-1, len(one))) for name, one in dictionaries.items()], dim=1)
    centred = stacked - stacked.mean(dim=0)
    norms = centred.norm(dim=0)
    scaled = centred / torch.where(norms > 0, norms, torch.nan)
    return np.asarray((scaled.T @ scaled).numpy())


def _neighbour(name: str, cosine: float, together: float) -> Neighbour:
    return Neighbour(name, cosine, None if np.isnan(together) else together)
