"""The noise levels that a sampler visits, and how far symmetric edits cancel there."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.diffusion.sampling.ddim import STEPS, unclipped
from interp.models import UNetModel

MOST_ETA = 1 - 1e-6
"""Used for eta 1, where rounding makes diffusers take the root of a negative `1 − ᾱ' − σ²`."""


@dataclass(frozen=True)
class NoiseLevels:
    """Per sampling step: the network's time, and ᾱ before (`now`) and after (`after`) the step."""

    timesteps: tuple[int, ...]
    now: Float[Tensor, " step"]
    after: Float[Tensor, " step"]

    def sigmas(self, eta: float) -> Float[Tensor, " step"]:
        """The noise each step adds: `η √((1 − ᾱ')/(1 − ᾱ)) √(1 − ᾱ/ᾱ')` (Song, Meng & Ermon 2021,
        equation 16).
        """
        return (
            min(eta, MOST_ETA)
            * ((1 - self.after) / (1 - self.now)).sqrt()
            * (1 - self.now / self.after).clamp(min=0).sqrt()
        )


def ddim(model: UNetModel, steps: int) -> tuple[Any, NoiseLevels]:
    """A fresh, unclipped DDIM scheduler of the model's own noise schedule (warns if that clipped),
    and its levels.

    Raises:
        InputError: the model has no scheduler, or more steps than it was trained on.
    """
    from diffusers import DDIMScheduler

    own: Any = unclipped(model).scheduler
    most = own.config.num_train_timesteps
    if not 0 < steps <= most:
        raise InputError(f"{steps} sampling steps were asked for; give 1 to {most}")
    scheduler = DDIMScheduler.from_config(own.config)
    scheduler.set_timesteps(steps)
    times = tuple(int(t) for t in scheduler.timesteps)
    before = [t - most // steps for t in times]
    after = [
        scheduler.alphas_cumprod[t] if t >= 0 else scheduler.final_alpha_cumprod for t in before
    ]
    now = scheduler.alphas_cumprod[list(times)].double()
    return scheduler, NoiseLevels(times, now, torch.stack([value.double() for value in after]))


def noise_levels(model: UNetModel, steps: int = STEPS) -> NoiseLevels:
    """The levels that the model's sampler visits in `steps` steps.

    Example:
        >>> noise_levels(model, 20).now
    """
    return ddim(model, steps)[1]


def cancellations(levels: NoiseLevels, *, eta: float = 0.0) -> Float[Tensor, " step"]:
    """What is left, per step, of an asymmetric edit if the same change of the prediction is made
    symmetrically.

    `κ = 1 − √((1 − ᾱ' − σ²) ᾱ / (ᾱ' (1 − ᾱ)))`: for the same change of the noise, symmetric minus
    plain is κ times asymmetric minus plain. Small κ is the destructive interference of Kwon, Jeong
    & Uh (2023, theorem 1).

    Example:
        >>> cancellations(noise_levels(model, 20)).mean()
    """
    kept = (1 - levels.after - levels.sigmas(eta) ** 2).clamp(min=0)
    return 1 - (kept * levels.now / (levels.after * (1 - levels.now))).sqrt()
