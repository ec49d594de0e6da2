"""DPM-Encoder: images as the noise of each step of a noisy sampler, exact by construction; and
translation by it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.diffusion.edits.inversion import require_images
from interp.diffusion.edits.straight import AnyEdit, Rule, answer, answers, edited_step
from interp.diffusion.sampling.ddim import STEPS
from interp.diffusion.sampling.labels import Labels, checked_labels, labelled
from interp.diffusion.sampling.levels import MOST_ETA, ddim
from interp.models import UNetModel


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """The code of images: the `start` at step `first` (noise, if that is 0), the `noises` of the
    steps from there but the last, and the `rest`.

    DDIM's last step adds no noise, so `rest` keeps what the network's last answer misses of the
    image, which makes decoding exact.
    """

    start: Float[Tensor, "image channel y x"]
    noises: Float[Tensor, "step image channel y x"]
    rest: Float[Tensor, "image channel y x"]
    steps: int
    eta: float
    first: int = 0

    @property
    def noise_sd(self) -> Float[Tensor, " step"]:
        """The standard deviation of each step's noise over images and pixels: near 1 where steps
        are small and the network fits the data.
        """
        return self.noises.flatten(1).std(dim=1)


@torch.no_grad()
def encode(
    model: UNetModel,
    images: Float[Tensor, "image channel y x"],
    *,
    seed: int = 0,
    steps: int = STEPS,
    eta: float = 1.0,
    first: int = 0,
    labels: Labels | None = None,
) -> Encoded:
    """Encode images as the noise that a sampler with `eta > 0` must draw to make exactly them.

    A path from noise to the image is drawn from the posterior,
    `x' = √ᾱ' x₀ + √(1−ᾱ'−σ²) (x − √ᾱ x₀)/√(1−ᾱ) + σ n`; a step's noise is what the network's own
    step to x' lacks, divided by σ.

    Args:
        first: the step to begin at. A later one leaves what earlier steps decide in `start`, where
            a translation keeps it.

    Raises:
        InputError: images of another size or range, eta not above 0, a step that the sampler does
            not have, or labels that do not fit.

    Source: Wu & De la Torre 2023 (arXiv 2210.05559), section 3.1; `rest` is ours. Cost: `steps`
    evaluations of the network; memory for `steps + 1` times the images.

    Example:
        >>> code = encode(model, images, labels=red)
        >>> blue_images = decode_code(model, code, labels=blue)
    """
    require_images(model, images)
    checked_labels(labels, len(images))
    if not 0 < eta <= 1:
        raise InputError(
            f"eta is {eta}; a code needs noise at every step, give more than 0, at most 1"
        )
    if not 0 <= first < steps:
        raise InputError(f"coding was to begin at step {first} of {steps}; give 0 to {steps - 1}")
    eta = min(eta, MOST_ETA)
    scheduler, levels = ddim(model, steps)
    generator = torch.Generator().manual_seed(seed)
    clean = images.to(model.device, model.module.dtype)
    sigmas = levels.sigmas(eta)

    def drawn() -> Tensor:
        return torch.randn(clean.shape, generator=generator).to(clean)

    here = start = (
        float(levels.now[first]) ** 0.5 * clean + float(1 - levels.now[first]) ** 0.5 * drawn()
    )
    noises = []
    with labelled(model.module, labels):
        for step, time in list(enumerate(levels.timesteps))[first:]:
            now, after = float(levels.now[step]), float(levels.after[step])
            sigma = float(sigmas[step])
            mean = scheduler.step(
                answer(model, here, time),
                time,
                here,
                eta=eta,
                variance_noise=torch.zeros_like(here),
            ).prev_sample
            last = step == steps - 1
            if sigma == 0 and not last:
                raise InputError(
                    f"step {step} of this sampler adds no noise, so nothing can be coded "
                    "there; take another number of steps"
                )
            if last:
                rest = clean - mean
                break
            seen = (here - now**0.5 * clean) / (1 - now) ** 0.5
            there = (
                after**0.5 * clean + max(0.0, 1 - after - sigma**2) ** 0.5 * seen + sigma * drawn()
            )
            noises.append((there - mean) / sigma)
            here = there
    stacked = torch.stack(noises) if noises else clean.new_zeros(0, *clean.shape)
    return Encoded(start=start, noises=stacked, rest=rest, steps=steps, eta=eta, first=first)


@torch.no_grad()
def decode_code(
    model: UNetModel,
    code: Encoded,
    *,
    labels: Labels | None = None,
    edit: AnyEdit | None = None,
    with_rest: bool = True,
) -> Float[Tensor, "image channel y x"]:
    """Images from a code: the encoded ones by the same network and labels, a translation by others.

    `with_rest=False` drops `rest`, which belongs to the encoding network.

    Args:
        edit: an edit to make on the way.

    Raises:
        InputError: labels or an edit that do not fit.

    Cost: `steps` evaluations of the network, twice at steps that an asymmetric edit changes.

    Example:
        >>> edit = CurvedEdit(curves, to_red, window=range(14, 20), settle=True)
        >>> decode_code(model, encode(model, blues), edit=edit, with_rest=False)
    """
    checked_labels(labels, len(code.start))
    scheduler, levels = ddim(model, code.steps)
    images = code.start
    silence = torch.zeros_like(images)
    rule: Rule = "symmetric" if edit is None else edit.rule
    if edit is not None:
        edit.require_sampler(levels.timesteps)
    with labelled(model.module, labels):
        for place, time in enumerate(levels.timesteps[code.first :]):
            step = code.first + place
            noise = code.noises[place] if place < len(code.noises) else silence
            plain, edited = answers(model, images, time, step, edit)
            images = edited_step(
                scheduler,
                levels,
                step,
                images,
                plain,
                edited,
                rule=rule,
                eta=code.eta,
                noise=noise,
            )
    return images + code.rest if with_rest else images


def translate(
    model: UNetModel,
    images: Float[Tensor, "image channel y x"],
    *,
    labels: Labels | None = None,
    to: Labels | None = None,
    target: UNetModel | None = None,
    seed: int = 0,
    steps: int = STEPS,
    eta: float = 1.0,
    first: int = 0,
) -> Float[Tensor, "image channel y x"]:
    """Images of one condition or network as another condition or network decodes their code
    (CycleDiffusion).

    Args:
        labels: the images' own labels; `to` the new ones.
        target: the decoding network; the encoding one if left out.
        first: the step to begin at: the later, the more of the image is kept.

    Raises:
        InputError: as `encode`.

    Source: Wu & De la Torre 2023, section 3.2. Cost: `2 × steps` evaluations of the network.

    Example:
        >>> translate(model, reds, labels=red, to=blue)
    """
    code = encode(model, images, seed=seed, steps=steps, eta=eta, first=first, labels=labels)
    same = target is None and to is None
    return decode_code(target or model, code, labels=labels if same else to, with_rest=same)
