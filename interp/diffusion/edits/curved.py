"""Supervised edits along curves: a site is a bent image of the factors, so that the right direction
depends on where an image is.
"""

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
    """What a site holds at every step as a polynomial of the factors, and the factors as read off
    it linearly.

    Factors are in sd of the samples (`spreads`) from their `means`. `coefficients [step, term, d]`
    belong to all products of up to `degree` factors; `probes [step, d, factor]` read what is left
    of a value after `centres [step, d]`, where the factors are `middle`; `lowest` and `highest` say
    which factors the samples had: beyond them nothing is read. `explained [step]` is the share of
    the site's variance that the polynomial predicts in held-out samples, `readable [step, factor]`
    the held-out R² of the probes: where they are low, the curves are not those of the network.
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
        """The factors that values hold, within what the samples had."""
        found = self.middle + (values - self.centres[place]) @ self.probes[place]
        return torch.minimum(torch.maximum(found, self.lowest), self.highest)

    def change(
        self, values: Float[Tensor, "image d"], place: int, shift: Float[Tensor, " factor"]
    ) -> Float[Tensor, "image d"]:
        """What is to be added to values so that their factors move by a shift:
        `p(f + shift) − p(f)` with p the polynomial.
        """
        here = self.read(values, place)
        return self._way(here, here + shift, place)

    def settled(
        self, values: Float[Tensor, "image d"], place: int, wanted: Float[Tensor, " factor"]
    ) -> Float[Tensor, "image d"]:
        """What is to be added to values so that factors become what is wanted; those wanted to be
        NaN stay.
        """
        here = self.read(values, place)
        return self._way(here, torch.where(wanted.isnan(), here, wanted), place)

    def units(self, factor: str, value: float) -> float:
        """A value of a factor in sd of the samples from their mean, as edits take it.

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

    With degree 1 the change is the same for all images, that of `regression_directions`. A small
    UNet's bottleneck codes a position by a bent surface: a straight direction then moves other
    images than those in the middle the wrong way.

    Args:
        labels: each factor's value per sample; samples with a NaN are left out.
        ridge: in units of the site's mean variance.

    Raises:
        InputError: another number of labels than samples, fewer samples than terms of the
            polynomial, or a factor that does not vary.

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

    The change is made at every step of the window (all if left out), so that together they may do
    more than the shift says: late windows do what is asked, early ones more, and less surely. With
    `settle` strengths are instead what factors are to become (in sd from the samples' mean,
    `Curves.units`), NaN for those that stay: doing so again changes nothing, so that every step of
    a window may. `random` makes it its own control: each image is changed by as much, in one random
    direction per step.

    Raises:
        InputError: another number of strengths than factors, an unknown rule, or a window that the
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
        missing = (
            []
            if self.window is None
            else [
                s
                for s in checked_window(self.window, self.curves.total)
                if s not in self.curves.steps
            ]
        )
        if missing:
            raise InputError(
                f"the curves have nothing for step {missing[0]}; they were fitted at "
                f"{list(self.curves.steps)}"
            )

    @property
    def site(self) -> str:
        """Where the curves live."""
        return self.curves.site

    def require_sampler(self, timesteps: Sequence[int]) -> None:
        """See that the sampler visits the noise levels of the curves.

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
                change = change.norm(dim=1, keepdim=True) * _unit(
                    change.shape[1], self.random, step
                )
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
    """The polynomial and the probes of one step, and how good they are on samples they were not
    fitted on.
    """
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
    """Per column what is missed, and what varies."""
    varies = (values - values.mean(dim=0)).square().sum(dim=0).clamp(min=1e-12)
    return (values - predicted).square().sum(dim=0), varies


def _terms(units: Float[Tensor, "image factor"], degree: int) -> Float[Tensor, "image term"]:
    """All products of up to `degree` factors, the constant first."""
    columns = [torch.ones(len(units), dtype=units.dtype, device=units.device)]
    for power in range(1, degree + 1):
        columns += [
            units[:, chosen].prod(dim=1)
            for chosen in map(list, combinations_with_replacement(range(units.shape[1]), power))
        ]
    return torch.stack(columns, dim=1)


def _unit(width: int, seed: int, step: int) -> Float[Tensor, " d"]:
    drawn = torch.randn(
        width, generator=torch.Generator().manual_seed(seed * 100_003 + step), dtype=torch.double
    )
    return drawn / drawn.norm()
