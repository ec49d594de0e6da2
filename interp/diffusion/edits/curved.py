"""Supervised edits along curves, where the right direction at a site depends on the image."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.core.names import require_known
from interp.diffusion.edits.straight import RULES, Rule, require_same_sampler
from interp.diffusion.records.activations import StepActivations, checked_window
from interp.models import Call, Hook

HELD_OUT = 0.25


@dataclass(frozen=True, eq=False, kw_only=True)
class Curves:
    """A site at every step as a polynomial of the factors, and linear probes of the factors on it.

    Factors are in standard deviations (sd) of the samples, `spreads`, from their `means`.
    `coefficients` belong to all products of up to `degree` factors; `probes` read a value minus
    `centres`, where the factors are `middle`, clipped to the samples' range, `lowest` to `highest`.
    `explained` is the share of the site's held-out variance that the polynomial predicts,
    `readable` the probes' held-out R²: where they are low, the curves are not the network's.
    """

    factors: tuple[str, ...]
    means: Float[Tensor, " factor"]
    spreads: Float[Tensor, " factor"]
    degree: int
    coefficients: Float[Tensor, "step term d"]
    centres: Float[Tensor, "step d"]
    probes: Float[Tensor, "step d factor"]
    middle: Float[Tensor, " factor"]
    lowest: Float[Tensor, " factor"]
    highest: Float[Tensor, " factor"]
    explained: Float[Tensor, " step"]
    readable: Float[Tensor, "step factor"]
    steps: tuple[int, ...]
    timesteps: tuple[int, ...]
    site: str
    total: int

    def read(self, values: Float[Tensor, "image d"], place: int) -> Float[Tensor, "image factor"]:
        """The factors of values, clipped to the samples' range."""
        found = self.middle + (values - self.centres[place]) @ self.probes[place]
        return torch.minimum(torch.maximum(found, self.lowest), self.highest)

    def change(
        self, values: Float[Tensor, "image d"], place: int, shift: Float[Tensor, " factor"]
    ) -> Float[Tensor, "image d"]:
        """What to add to values to move their factors by a shift: `p(f + shift) − p(f)` with p the
        polynomial.
        """
        here = self.read(values, place)
        return self._way(here, here + shift, place)

    def settled(
        self, values: Float[Tensor, "image d"], place: int, wanted: Float[Tensor, " factor"]
    ) -> Float[Tensor, "image d"]:
        """What to add to values to set their factors to those wanted; NaN leaves a factor as it
        is.
        """
        here = self.read(values, place)
        return self._way(here, torch.where(wanted.isnan(), here, wanted), place)

    def units(self, factor: str, value: float) -> float:
        """A factor's value in sd of the samples from their mean, as edits take it.

        Raises:
            InputError: an unknown factor.
        """
        require_known("factor", factor, self.factors)
        place = self.factors.index(factor)
        return (value - float(self.means[place])) / float(self.spreads[place])

    def _way(
        self, here: Float[Tensor, "image factor"], there: Float[Tensor, "image factor"], place: int
    ) -> Float[Tensor, "image d"]:
        return (_terms(there, self.degree) - _terms(here, self.degree)) @ self.coefficients[place]


def fit_curves(
    acts: StepActivations,
    labels: Mapping[str, Float[Tensor, " image"]],
    *,
    degree: int = 3,
    ridge: float = 1e-3,
    seed: int = 0,
) -> Curves:
    """Fit, at every step, the site as a polynomial of the factors (least squares) and the factors
    as linear in the site (ridge regression).

    With degree 1 all images change alike, as by `regression_directions`. A small UNet's bottleneck
    codes position on a bent surface: a straight direction moves images away from the middle the
    wrong way.

    Args:
        labels: each factor's value per sample; samples with a NaN are left out.
        ridge: in units of the site's mean variance.

    Raises:
        InputError: labels and samples differ in number, fewer samples than terms of the polynomial,
            or a factor that does not vary.

    Cost: two least-squares problems per step. Source: ours; polynomials instead of the differences
    of means of Haas et al. (2024).

    Example:
        >>> curves = fit_curves(acts, factor_table(read_shapes, acts.images))
        >>> CurvedEdit(curves, (0.5, 0, 0, 0), window=range(17, 20))
    """
    table = torch.stack(list(labels.values()), dim=1).double()
    if len(table) != len(acts):
        raise InputError(f"{len(table)} labels for {len(acts)} samples; give one per sample")
    if degree < 1:
        raise InputError(f"degree is {degree}; give 1 (straight) or more")
    kept = ~table.isnan().any(dim=1)
    known = table[kept]
    spread = known.std(dim=0)
    if len(known) < 2 or not bool((spread > 1e-9).all()):
        raise InputError(
            f"{', '.join(labels)}: one does not vary among {len(known)} labelled samples; "
            "leave it out"
        )
    units = (known - known.mean(dim=0)) / spread
    order = torch.randperm(len(units), generator=torch.Generator().manual_seed(seed))
    fit, test = order[round(HELD_OUT * len(order)) :], order[: round(HELD_OUT * len(order))]
    terms = _terms(units, degree)
    if len(fit) <= terms.shape[1]:
        raise InputError(
            f"{len(fit)} samples for {terms.shape[1]} terms of degree {degree}; record more, or "
            "take a smaller degree"
        )
    parts = [
        _fit_step(rows.double(), units, terms, fit, test, ridge)
        for rows in acts.values[kept].flatten(2).unbind(dim=1)
    ]
    coefficients, centres, probes, explained, readable = (
        torch.stack(items) for items in zip(*parts, strict=True)
    )
    return Curves(
        factors=tuple(labels),
        means=known.mean(dim=0),
        spreads=spread,
        degree=degree,
        coefficients=coefficients,
        centres=centres,
        probes=probes,
        middle=units[fit].mean(dim=0),
        lowest=units.amin(dim=0),
        highest=units.amax(dim=0),
        explained=explained,
        readable=readable,
        steps=acts.steps,
        timesteps=acts.timesteps,
        site=acts.site,
        total=acts.total,
    )


@dataclass(frozen=True, eq=False)
class CurvedEdit:
    """A shift of factors along fitted curves, `strengths` in sd of the samples, one per factor;
    used wherever an `Edit` is.

    The change is made at every step of the window (all if left out), so together they may exceed
    the shift: late windows do what they should, early ones more, and less surely. With `settle`,
    strengths are instead the factors' new values (`Curves.units`), NaN for those that stay:
    repeating that changes nothing, so any window may. `random`, a seed, makes it its own control:
    each image changes by as much, in one random direction per step.

    Raises:
        InputError: strengths and factors differ in number, an unknown rule, or a window that the
            curves do not cover.

    Example:
        >>> trial.changes(CurvedEdit(curves, (0.5, 0, 0, 0), window=range(17, 20)))
    """

    curves: Curves
    strengths: tuple[float, ...]
    _: KW_ONLY
    rule: Rule = "asymmetric"
    window: range | None = None
    random: int | None = None
    settle: bool = False

    def __post_init__(self) -> None:
        require_known("rule", self.rule, RULES)
        if len(self.strengths) != len(self.curves.factors):
            raise InputError(
                f"{len(self.strengths)} strengths for the factors "
                f"{', '.join(self.curves.factors)}; give one each, 0 for none"
            )
        if self.window is None:
            return
        window = checked_window(self.window, self.curves.total)
        if missing := [step for step in window if step not in self.curves.steps]:
            raise InputError(
                f"the curves have nothing for step {missing[0]}; they were fitted at "
                f"{list(self.curves.steps)}"
            )

    @property
    def site(self) -> str:
        """Where the curves live."""
        return self.curves.site

    def require_sampler(self, timesteps: Sequence[int]) -> None:
        """Require that the sampler visits the noise levels of the curves.

        Raises:
            InputError: it does not.
        """
        require_same_sampler(self.curves.steps, self.curves.timesteps, self.curves.total, timesteps)

    def randomised(self, seed: int) -> "CurvedEdit":
        """The same edit with a random direction at every step."""
        return replace(self, random=seed)

    def hook(self, step: int) -> Hook | None:
        """Moves each image along its own curve at this step; None outside the window."""
        if step not in (self.curves.steps if self.window is None else self.window):
            return None
        place = self.curves.steps.index(step)
        shift = self.curves.coefficients.new_tensor(self.strengths)

        def hook(value: Tensor, call: Call) -> Tensor:
            flat = value.double().flatten(1)
            if flat.shape[1] != self.curves.centres.shape[1]:
                raise InputError(
                    f"the curves are of {self.curves.centres.shape[1]} numbers, {call.site} holds "
                    f"{flat.shape[1]}; fit them in this network"
                )
            change = (self.curves.settled if self.settle else self.curves.change)(
                flat, place, shift
            )
            if self.random is not None:
                unit = _unit(change.shape[1], self.random, step)
                change = change.norm(dim=1, keepdim=True) * unit
            return value + change.reshape(value.shape).to(value)

        return hook


def _fit_step(
    rows: Float[Tensor, "image d"],
    units: Float[Tensor, "image factor"],
    terms: Float[Tensor, "image term"],
    fit: Tensor,
    test: Tensor,
    ridge: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One step's polynomial and probes, and their R² on held-out samples."""
    weights = torch.linalg.lstsq(terms[fit], rows[fit]).solution
    centre = rows[fit].mean(dim=0)
    centred = rows[fit] - centre
    inner = centred.T @ centred
    inner += ridge * inner.trace() / len(inner) * torch.eye(len(inner), dtype=inner.dtype)
    middle = units[fit].mean(dim=0)
    probe = torch.linalg.solve(inner, centred.T @ (units[fit] - middle))
    missed, whole = _squares(rows[test], terms[test] @ weights)
    wrong, spread = _squares(units[test], middle + (rows[test] - centre) @ probe)
    return weights, centre, probe, 1 - missed.sum() / whole.sum(), 1 - wrong / spread


def _squares(
    values: Float[Tensor, "image column"], predicted: Float[Tensor, "image column"]
) -> tuple[Tensor, Tensor]:
    """Per column the sums of squares of the residual and about the mean."""
    varies = (values - values.mean(dim=0)).square().sum(dim=0).clamp(min=1e-12)
    return (values - predicted).square().sum(dim=0), varies


def _terms(units: Float[Tensor, "image factor"], degree: int) -> Float[Tensor, "image term"]:
    """All products of up to `degree` factors, the constant first."""
    columns = [torch.ones(len(units), dtype=units.dtype, device=units.device)]
    for power in range(1, degree + 1):
        chosen = combinations_with_replacement(range(units.shape[1]), power)
        columns += [units[:, list(factors)].prod(dim=1) for factors in chosen]
    return torch.stack(columns, dim=1)


def _unit(width: int, seed: int, step: int) -> Float[Tensor, " d"]:
    generator = torch.Generator().manual_seed(seed * 100_003 + step)
    drawn = torch.randn(width, generator=generator, dtype=torch.double)
    return drawn / drawn.norm()
