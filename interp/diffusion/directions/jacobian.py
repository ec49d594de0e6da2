"""Image-specific directions: singular vectors of the answer's Jacobian with respect to a site."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from interp.core import InputError, Progress, silent
from interp.diffusion.directions.step_directions import StepDirections, matched
from interp.diffusion.edits.straight import answer, start_noise
from interp.diffusion.records.activations import checked_window
from interp.diffusion.sampling.ddim import STEPS, image_seeds
from interp.diffusion.sampling.levels import ddim
from interp.models import Call, Hook, UNetModel
from interp.models.adapters.unet import NoisedImages

SPARE = 4
"""Extra vectors to iterate: convergence depends on the gap to the first vector left out."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SingularVectors:
    """Leading singular vectors of `∂ answer / ∂ h` for one noised image.

    `values` are in falling order; `directions` are unit changes of the site, `responses` those of
    the (masked) answer that they cause. `change` is the relative change of the values in the last
    iteration. `evaluations` counts calls of the network, each with all vectors as one batch.
    """

    values: Float[Tensor, " vector"]
    directions: Float[Tensor, "vector channel y x"]
    responses: Float[Tensor, "vector channel_out y_out x_out"]
    iterations: int
    evaluations: int
    change: float


class Linearised:
    """The Jacobian of a network's answer to one noised image with respect to a site: products with
    it, and their number.
    """

    def __init__(
        self,
        model: UNetModel,
        image: Float[Tensor, "1 channel y x"],
        timestep: int,
        site: str,
        mask: Float[Tensor, "mask_y mask_x"] | None,
    ) -> None:
        self.model, self.image, self.timestep = model, image, timestep
        self.site = model.sites.resolve(site)
        self.mask = None if mask is None else mask.to(image)
        self.evaluations = 0
        self.value = self._value()

    def times(
        self, vectors: Float[Tensor, "vector channel y x"]
    ) -> Float[Tensor, "vector channel_out y_out x_out"]:
        """`J v` of every vector, by forward-mode differentiation. Cost: evaluating one batch."""
        with torch.no_grad(), forward_ad.dual_level(), _without_deprecations():
            found = self._answer(
                len(vectors),
                lambda value, call: forward_ad.make_dual(  # type: ignore[no-untyped-call]
                    value.detach().clone(), vectors
                ),
            )
            tangent = forward_ad.unpack_dual(found).tangent  # type: ignore[no-untyped-call]
        return torch.zeros_like(found) if tangent is None else tangent

    def back(
        self, vectors: Float[Tensor, "vector channel_out y_out x_out"]
    ) -> Float[Tensor, "vector channel y x"]:
        """`Jᵀ u` of every vector, by back-propagation. Cost: evaluating one batch, and its backward
        pass.
        """
        leaf = self.value.expand(len(vectors), *self.value.shape[1:]).clone().requires_grad_()
        with torch.enable_grad():
            found = self._answer(len(vectors), lambda value, call: leaf)
            (gradient,) = torch.autograd.grad((found * vectors).sum(), leaf)
        return gradient

    def _answer(self, count: int, hook: Hook) -> Tensor:
        self.evaluations += 1
        found = answer(
            self.model,
            self.image.expand(count, *self.image.shape[1:]),
            self.timestep,
            {self.site: hook},
        )
        return found if self.mask is None else found * self.mask

    @torch.no_grad()
    def _value(self) -> Tensor:
        seen: list[Tensor] = []

        def keep(value: Tensor, call: Call) -> None:
            seen.append(value.detach().clone())

        self.evaluations += 1
        self.model.run(
            NoisedImages(self.image, self.timestep), {self.site: keep}, stop_after=self.site
        )
        return seen[0]


def singular_vectors(
    model: UNetModel,
    image: Float[Tensor, "1 channel y x"],
    timestep: int,
    count: int = 3,
    *,
    site: str = "mid",
    mask: Float[Tensor, "mask_y mask_x"] | None = None,
    most_iterations: int = 50,
    tolerance: float = 1e-5,
    start: Float[Tensor, "start channel_h y_h x_h"] | None = None,
    seed: int = 0,
) -> SingularVectors:
    """The leading right singular vectors of the Jacobian of the network's answer with respect to a
    site, at one noised image.

    Block power iteration: `W ← Jᵀ (J V)`, orthonormalised, with the singular values of `J V` as
    estimates, until their relative change is below `tolerance`. `mask` restricts the answer, and so
    the directions, to a region.

    Args:
        start: vectors to begin with (those of the step before), completed by random ones.

    Raises:
        InputError: more vectors than the site has numbers, an empty mask or one of another size, or
            a site that the answer does not depend on.

    Source: Haas et al. 2024 (arXiv 2303.11073), section 3.3, one vector at a time. Cost: at most 2
    × iterations + 2 evaluations of the network, each a batch of `count + 4`.

    Example:
        >>> found = singular_vectors(model, noised, 499, 3)
        >>> found.values
    """
    if mask is not None and (mask.shape != image.shape[2:] or not bool(mask.any())):
        raise InputError(
            f"a mask of {tuple(mask.shape)} for images of {tuple(image.shape[2:])}; give one "
            "of that size that is not empty"
        )
    jacobian = Linearised(model, image, timestep, site, mask)
    shape = jacobian.value.shape[1:]
    width = int(shape.numel())
    if not 0 < count <= width:
        raise InputError(
            f"{count} singular vectors were asked for; the site has {width} numbers, give 1 to "
            f"{width}"
        )
    vectors = _start(width, min(width, count + SPARE), start, seed).to(jacobian.value)
    values, change, iterations = torch.zeros(count), float("inf"), 0
    moved = jacobian.times(vectors.reshape(-1, *shape))
    while iterations < most_iterations:
        vectors = torch.linalg.qr(jacobian.back(moved).flatten(1).T).Q.T
        moved = jacobian.times(vectors.reshape(-1, *shape))
        iterations += 1
        left, sizes, right = torch.linalg.svd(moved.flatten(1).double().T, full_matrices=False)
        change = float(((sizes[:count] - values).abs() / sizes[:count].clamp(min=1e-12)).max())
        values = sizes[:count]
        if change < tolerance:
            break
    if float(values[0]) == 0:
        raise InputError(f"the answer does not depend on {site}; see the interchange test")
    turned = (right @ vectors.double())[:count]
    return SingularVectors(
        values=values.float(),
        directions=turned.reshape(count, *shape).float(),
        responses=left.T[:count].reshape(count, *moved.shape[1:]).float(),
        iterations=iterations,
        evaluations=jacobian.evaluations,
        change=change,
    )


def away_from(
    found: SingularVectors, protected: SingularVectors
) -> Float[Tensor, "vector channel y x"]:
    """The directions of `found`, as unit vectors, with those of `protected` projected out.

    The vectors of a masked answer change the region most, but often the rest too. Projecting out
    the leading vectors of the rest's mask keeps it to first order (Zhu et al. 2021, in a GAN's
    latent space).

    Raises:
        InputError: nothing is left of a direction.

    Example:
        >>> inside = singular_vectors(model, noised, 499, 2, mask=face)
        >>> away_from(inside, singular_vectors(model, noised, 499, 8, mask=1 - face))
    """
    basis = torch.linalg.qr(protected.directions.flatten(1).T).Q
    rows = found.directions.flatten(1)
    left = rows - (rows @ basis) @ basis.T
    sizes = left.norm(dim=1)
    if float(sizes.min()) < 1e-3:
        raise InputError(
            f"vector {int(sizes.argmin())} lies among the {len(basis.T)} protected ones; protect "
            "fewer"
        )
    return (left / sizes[:, None]).reshape(found.directions.shape)


def jacobian_directions(
    model: UNetModel,
    count: int = 3,
    *,
    seed: int,
    steps: int = STEPS,
    window: range | None = None,
    site: str = "mid",
    mask: Float[Tensor, "mask_y mask_x"] | None = None,
    most_iterations: int = 12,
    progress: Progress = silent,
) -> StepDirections:
    """Singular vectors at every step of one image's sampling, as directions over steps.

    The image is the first of `seed`. Each step starts from the vectors of the step before, to which
    its own are matched, with signs, by the largest overlaps. Each step's directions are unit
    vectors.

    Raises:
        InputError: as `singular_vectors`, or a window beyond the steps.

    Cost: at most `2 × iterations + 3` evaluations of the network per step, each a batch of
    `count + 4`.

    Example:
        >>> jacobian_directions(model, 3, seed=0, window=range(0, 10))
    """
    scheduler, levels = ddim(model, steps)
    chosen = checked_window(window, steps)
    image = start_noise(model, image_seeds(1, seed))
    found: list[Tensor] = []
    for step, time in enumerate(levels.timesteps[: max(chosen) + 1]):
        if step in chosen:
            before = found[-1] if found else None
            vectors = singular_vectors(
                model,
                image,
                time,
                count,
                site=site,
                mask=mask,
                most_iterations=most_iterations,
                start=before,
                seed=seed,
            ).directions
            found.append(vectors if before is None else _continued(before, vectors))
            progress("Jacobian", len(found), len(chosen), "step")
        with torch.no_grad():
            image = scheduler.step(answer(model, image, time), time, image).prev_sample
    return StepDirections(
        values=torch.stack(found, dim=1),
        names=tuple(f"vector {i}" for i in range(count)),
        steps=tuple(chosen),
        timesteps=tuple(levels.timesteps[step] for step in chosen),
        site=model.sites.resolve(site),
        total=steps,
        method="Jacobian",
        seed=seed,
    )


@contextmanager
def _without_deprecations() -> Iterator[None]:
    """Torch's forward mode uses a deprecated part of torch at first use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*torch.jit")
        yield


def _start(width: int, count: int, start: Tensor | None, seed: int) -> Float[Tensor, "vector d"]:
    drawn = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    if start is not None:
        drawn = torch.cat([start.detach().cpu().flatten(1), drawn])[:count]
    return torch.linalg.qr(drawn.T).Q.T


def _continued(
    before: Float[Tensor, "vector channel y x"], after: Float[Tensor, "vector channel y x"]
) -> Tensor:
    order, signs = matched(before.flatten(1) @ after.flatten(1).T)
    return after[order] * rearrange(signs, "vector -> vector 1 1 1")
