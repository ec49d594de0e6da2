"""Linear boundaries in a site or in the noised image, and edits across them at one step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Score, bootstrap_mean
from interp.core.names import require_known
from interp.diffusion.edits.straight import answer, start_noise
from interp.diffusion.sampling.ddim import STEPS, image_seeds
from interp.diffusion.sampling.levels import ddim
from interp.models import Call, Hook, UNetModel

Space = Literal["site", "image"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Boundary:
    """A plane between samples with much and little of a factor at one sampling step:
    `⟨normal, value⟩ + intercept` is positive above.

    `accuracy` is on held-out samples, its control the larger class's share. `spread` is the
    standard deviation of the samples' projections.
    """

    normal: Float[Tensor, "channel y x"]
    intercept: float
    accuracy: Score
    spread: float
    space: Space
    site: str
    step: int
    total: int
    timestep: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Passing:
    """Sampled images, with the site's `values` and the noised image at every step."""

    values: Float[Tensor, "image step channel y x"]
    noised: Float[Tensor, "image step channel_in y_in x_in"]
    images: Float[Tensor, "image channel_in y_in x_in"]
    timesteps: tuple[int, ...]
    site: str


@torch.no_grad()
def record_passing(
    model: UNetModel, count: int, *, seed: int, steps: int = STEPS, site: str = "mid"
) -> Passing:
    """Sample images deterministically and record a site and the noised image at every step.

    Raises:
        InputError: an unknown site or number.

    Cost: `count × steps` evaluations of the UNet; memory for both.
    """
    scheduler, levels = ddim(model, steps)
    name = model.sites.resolve(site)
    images = start_noise(model, image_seeds(count, seed))
    seen: list[Tensor] = []
    noised: list[Tensor] = []

    def keep(value: Tensor, call: Call) -> None:
        seen.append(value.detach().clone())

    for time in levels.timesteps:
        noised.append(images)
        images = scheduler.step(answer(model, images, time, {name: keep}), time, images).prev_sample
    return Passing(
        values=torch.stack(seen, dim=1),
        noised=torch.stack(noised, dim=1),
        images=images,
        timesteps=levels.timesteps,
        site=name,
    )


def fit_boundary(
    passing: Passing,
    label: Float[Tensor, " image"],
    step: int,
    *,
    space: Space = "site",
    held_out: float = 0.25,
    seed: int = 0,
) -> Boundary:
    """The linear support vector machine between the upper and lower half of a factor at one step.

    Values share one scale, so the normal is that of the raw space.

    Raises:
        InputError: a step or space that does not exist, or fewer than 20 labelled samples.

    Source: Zhu et al. 2023 (arXiv 2302.08357), section 3. Cost: one fit; quadratic in the samples.

    Example:
        >>> fit_boundary(passing, factor_table(read, passing.images)["radius"], step=9)
    """
    from sklearn.svm import SVC

    require_known("space", space, ("site", "image"))
    values = passing.values if space == "site" else passing.noised
    if not 0 <= step < values.shape[1]:
        raise InputError(f"step {step} was not recorded; give 0 to {values.shape[1] - 1}")
    kept = ~label.isnan()
    if int(kept.sum()) < 20:
        raise InputError(f"{int(kept.sum())} samples are labelled, 20 are needed; record more")
    rows = values[kept, step].flatten(1).double().cpu().numpy()
    above = (label[kept] > label[kept].median()).cpu().numpy()
    order = np.random.default_rng(seed).permutation(len(rows))
    cut = round(len(rows) * (1 - held_out))
    fit, test = order[:cut], order[cut:]
    scale = float(rows[fit].std()) or 1.0
    machine = SVC(kernel="linear").fit(rows[fit] / scale, above[fit])
    right = (machine.predict(rows[test] / scale) == above[test]).astype(float)
    weights = machine.coef_[0] / scale
    length = float(np.linalg.norm(weights))
    normal = torch.from_numpy(weights / length).to(values).reshape(values.shape[2:])
    share = float(above[test].mean())
    return Boundary(
        normal=normal,
        intercept=float(machine.intercept_[0]) / length,
        accuracy=bootstrap_mean(right, seed=seed, control=max(share, 1 - share)),
        spread=float((rows[fit] @ (weights / length)).std()),
        space=space,
        site=passing.site,
        step=step,
        total=values.shape[1],
        timestep=passing.timesteps[step],
    )


def mixing_step(accuracies: Mapping[int, float], *, slack: float = 0.02) -> int:
    """The first step, from the noise on, whose accuracy is within `slack` of the best.

    The published method finds it by the norm of the noised images; this definition is ours.

    Raises:
        InputError: no accuracies.
    """
    if not accuracies:
        raise InputError("no accuracies were given; fit a boundary at some steps first")
    best = max(accuracies.values())
    return min(step for step, value in accuracies.items() if value >= best - slack)


@torch.no_grad()
def cross_boundaries(
    model: UNetModel, count: int, boundaries: list[Boundary], distance: float, *, seed: int
) -> Float[Tensor, "image channel y x"]:
    """Sample images and, at the boundaries' step, move each value to a signed distance from its
    boundary, in standard deviations of the projections.

    `value + (distance · spread − ⟨normal, value⟩ − intercept) normal`, in the site, the noised
    image, or both.

    Raises:
        InputError: no boundaries, or of several steps or samplers.

    Cost: `count × steps` evaluations of the UNet.

    Example:
        >>> cross_boundaries(model, 64, [in_site, in_image], 2.0, seed=5)
    """
    places = {(b.step, b.total, b.timestep) for b in boundaries}
    if len(places) != 1:
        raise InputError(
            f"boundaries of {len(places)} different steps or samplers were given; give those "
            "of one step"
        )
    ((chosen, total, timestep),) = places
    scheduler, levels = ddim(model, total)
    if levels.timesteps[chosen] != timestep:
        raise InputError(
            f"the boundary is of timestep {timestep}, the sampler has {levels.timesteps[chosen]} "
            "there; fit it again"
        )
    images = start_noise(model, image_seeds(count, seed))
    for step, time in enumerate(levels.timesteps):
        hooks: dict[str, Hook] = {}
        for boundary in boundaries if step == chosen else ():
            if boundary.space == "image":
                images = _moved(images, boundary, distance)
            else:
                hooks[boundary.site] = _crossing(boundary, distance)
        images = scheduler.step(answer(model, images, time, hooks), time, images).prev_sample
    return images


def _crossing(boundary: Boundary, distance: float) -> Hook:
    return lambda value, call: _moved(value, boundary, distance)


def _moved(value: Tensor, boundary: Boundary, distance: float) -> Tensor:
    normal = boundary.normal.to(value)
    here = (value * normal).flatten(1).sum(dim=1) + boundary.intercept
    missing = rearrange(distance * boundary.spread - here, "image -> image 1 1 1")
    return value + missing * normal
