"""Edits that add directions at a site while sampling, by the symmetric or asymmetric rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.core.names import require_known
from interp.diffusion.directions.step_directions import StepDirections, random_like
from interp.diffusion.records.activations import checked_window
from interp.diffusion.sampling.ddim import BATCH, STEPS, batches
from interp.diffusion.sampling.labels import Labels, labelled
from interp.diffusion.sampling.levels import MOST_ETA, NoiseLevels, ddim
from interp.models import Call, Hook, UNetModel
from interp.models.adapters.unet import NoisedImages

Rule = Literal["asymmetric", "symmetric"]
RULES = ("asymmetric", "symmetric")
Answers = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""From a step and its noised images, the plain and the edited answer (one tensor if equal)."""


@runtime_checkable
class AnyEdit(Protocol):
    """What `sample_edited` needs of an edit: its site, its rule, and a hook per edited step."""

    @property
    def site(self) -> str: ...

    @property
    def rule(self) -> Rule: ...

    @property
    def strengths(self) -> tuple[float, ...]: ...

    def hook(self, step: int) -> Hook | None:
        """What changes the site at a step; None for no change."""
        ...

    def require_sampler(self, timesteps: Sequence[int]) -> None:
        """Require that the sampler visits the noise levels of the edit."""
        ...

    def randomised(self, seed: int) -> "AnyEdit":
        """Its control: changes of equal length at every step, in random directions."""
        ...


@dataclass(frozen=True, eq=False)
class Edit:
    """Directions, their strengths, and the rule by which they are added.

    Symmetric: the edited answer is used throughout. Asymmetric (Kwon, Jeong & Uh 2023): only for
    the predicted clean image, not for the step back to the next noise level. The symmetric rule
    nearly cancels with many steps, so compare the two at equal measured effect, not strength.
    Outside `window` nothing is added.

    Raises:
        InputError: strengths and directions differ in number, an unknown rule, or a window that the
            directions do not cover.

    Example:
        >>> Edit(directions["radius"], (0.03,), window=range(0, 10))
    """

    directions: StepDirections
    strengths: tuple[float, ...]
    rule: Rule = "asymmetric"
    window: range | None = None

    def __post_init__(self) -> None:
        require_known("rule", self.rule, RULES)
        if len(self.strengths) != len(self.directions):
            raise InputError(
                f"{len(self.strengths)} strengths were given for {len(self.directions)} "
                "directions; give one each"
            )
        if self.window is None:
            return
        window = checked_window(self.window, self.directions.total)
        if missing := [step for step in window if step not in self.directions.steps]:
            raise InputError(
                f"the directions have nothing for step {missing[0]}; they were found at "
                f"{list(self.directions.steps)}"
            )

    def changes(self) -> dict[int, Float[Tensor, "channel y x"]]:
        """What is added at each edited step."""
        chosen = self.directions.steps if self.window is None else tuple(self.window)
        weights = self.directions.values.new_tensor(self.strengths)
        summed = torch.einsum("d,dscyx->scyx", weights, self.directions.values)
        return {
            step: summed[place]
            for place, step in enumerate(self.directions.steps)
            if step in chosen and bool(summed[place].any())
        }

    @property
    def site(self) -> str:
        """Where the directions live."""
        return self.directions.site

    @cached_property
    def _changes(self) -> dict[int, Float[Tensor, "channel y x"]]:
        return self.changes()

    def hook(self, step: int) -> Hook | None:
        """Adds the directions at this step; None outside the window."""
        return _adding(self._changes[step]) if step in self._changes else None

    def randomised(self, seed: int) -> "Edit":
        """The same edit with random directions of equal norm at every step."""
        return replace(self, directions=random_like(self.directions, seed=seed))

    def require_sampler(self, timesteps: Sequence[int]) -> None:
        """Require that the sampler visits the noise levels at which the directions were found.

        Raises:
            InputError: it does not.
        """
        require_same_sampler(
            self.directions.steps, self.directions.timesteps, self.directions.total, timesteps
        )


def edit_hooks(edit: AnyEdit) -> dict[str, Hook]:
    """A symmetric edit as hooks, for `sample`, `record_steps` or `model.hooked`.

    Raises:
        InputError: the edit is asymmetric, which takes two answers per step: use `sample_edited`.

    Example:
        >>> with model.hooked(edit_hooks(edit)):
        ...     images = sample(model, 16, seed=0)
    """
    if edit.rule != "symmetric":
        raise InputError(
            "an asymmetric edit needs two answers of the network per step; use sample_edited, or "
            "rule='symmetric'"
        )

    def hook(value: Tensor, call: Call) -> Tensor | None:
        at_step = edit.hook(call.step)
        return None if at_step is None else at_step(value, call)

    return {edit.site: hook}


@torch.no_grad()
def sample_edited(
    model: UNetModel,
    count: int,
    edit: AnyEdit | None,
    *,
    seed: int,
    steps: int = STEPS,
    eta: float = 0.0,
    boost: int | None = None,
    labels: Labels | None = None,
    batch_size: int = BATCH,
    progress: Progress = silent,
) -> Float[Tensor, "image channel y x"]:
    """Generate the images of `sample` with an edit (None: without, as its control).

    With x₀(h + Δh) the clean image that the edited network predicts, the asymmetric step is
    `x' = √ᾱ' x₀(h + Δh) + √(1 − ᾱ' − σ²) ε(h) + σ z`; in the symmetric one ε is the edited
    network's too. Both use diffusers' DDIM scheduler, so networks may predict noise, v or images.
    A step's noise (eta > 0) depends on the image's seed, not on the edit.

    Args:
        eta: 0 is deterministic, 1 as much noise as DDPM's.
        boost: from this step on eta is 1, which repairs small flaws of an edit (quality boosting,
            Kwon, Jeong & Uh 2023).

    Raises:
        InputError: the directions were found with another sampler, or a number or site does not
            fit.

    Cost: `count × steps` evaluations of the UNet, twice at steps that an asymmetric edit changes.

    Example:
        >>> images = sample_edited(model, 64, Edit(directions["x"], (0.04,)), seed=7)
    """
    sampler = ddim(model, steps)
    times = sampler[1].timesteps
    if edit is not None:
        edit.require_sampler(times)
    etas = _etas(steps, eta, boost)
    rule: Rule = "symmetric" if edit is None else edit.rule

    def answering(step: int, images: Tensor) -> tuple[Tensor, Tensor]:
        return answers(model, images, times[step], step, edit)

    parts = []
    for batch in batches(count, seed, labels, batch_size):
        with labelled(model.module, batch.labels):
            parts.append(trajectory(model, batch.seeds, answering, sampler, rule=rule, etas=etas))
        progress("sample edited", batch.rows.stop, count, "image")
    return torch.cat(parts)


def edited_step(
    scheduler: Any,
    levels: NoiseLevels,
    step: int,
    images: Float[Tensor, "image channel y x"],
    plain: Float[Tensor, "image channel y x"],
    edited: Float[Tensor, "image channel y x"],
    *,
    rule: Rule,
    eta: float = 0.0,
    noise: Float[Tensor, "image channel y x"] | None = None,
) -> Float[Tensor, "image channel y x"]:
    """One step of a sampler from the network's `plain` and `edited` answers."""
    time, eta = levels.timesteps[step], min(eta, MOST_ETA)
    changed = scheduler.step(edited, time, images, eta=eta, variance_noise=noise)
    made: Tensor = changed.prev_sample
    if rule == "asymmetric" and edited is not plain:
        kept = scheduler.step(plain, time, images, eta=eta, variance_noise=noise)
        moved = changed.pred_original_sample - kept.pred_original_sample
        made = kept.prev_sample + float(levels.after[step]) ** 0.5 * moved
    return made


def answer(
    model: UNetModel,
    images: Float[Tensor, "image channel y x"],
    timestep: int,
    hooks: dict[str, Hook] | None = None,
) -> Tensor:
    """The network's answer to noised images, with hooks in place."""
    found = model.run(NoisedImages(images, timestep), hooks or {})
    assert found is not None
    return found


def answers(
    model: UNetModel,
    images: Float[Tensor, "image channel y x"],
    timestep: int,
    step: int,
    edit: AnyEdit | None,
) -> tuple[Tensor, Tensor]:
    """The network's plain and edited answer; the same tensor where only one is needed."""
    hook = None if edit is None else edit.hook(step)
    if edit is None or hook is None:
        plain = answer(model, images, timestep)
        return plain, plain
    edited = answer(model, images, timestep, {edit.site: hook})
    return (edited if edit.rule == "symmetric" else answer(model, images, timestep)), edited


def start_noise(
    model: UNetModel, seeds: Sequence[int], *, stream: int = 0
) -> Float[Tensor, "image channel y x"]:
    """Noise of the images' size, each from its own seed; sampling starts from stream 0."""
    size = model.module.config.sample_size
    if size is None:
        raise InputError(
            "this UNet's configuration has no sample_size, so images cannot be sampled"
        )
    height, width = (size, size) if isinstance(size, int) else size
    shape = (model.module.config.in_channels, height, width)
    drawn = [
        torch.randn(shape, generator=torch.Generator().manual_seed(_stream_seed(seed, stream)))
        for seed in seeds
    ]
    return torch.stack(drawn).to(model.device, model.module.dtype)


def _stream_seed(seed: int, stream: int) -> int:
    """The seed of an image's later noise: the start's noise itself would be subtracted again.

    Mixed, not summed: torch's generator uses only the lower 32 bits of a seed.
    """
    return seed if stream == 0 else int(np.random.SeedSequence([seed, stream]).generate_state(1)[0])


def trajectory(
    model: UNetModel,
    seeds: Sequence[int],
    answers: Answers,
    sampler: tuple[Any, NoiseLevels],
    *,
    rule: Rule,
    etas: Sequence[float],
) -> Float[Tensor, "image channel y x"]:
    """One batch from noise to images, with plain and edited answers from a function.

    `sampler` is a scheduler with its levels (`ddim`), `etas` the eta of every step.
    """
    scheduler, levels = sampler
    images: Tensor = start_noise(model, seeds) * scheduler.init_noise_sigma
    for step in range(len(levels.timesteps)):
        noise = start_noise(model, seeds, stream=1 + step) if etas[step] > 0 else None
        plain, edited = answers(step, images)
        images = edited_step(
            scheduler, levels, step, images, plain, edited, rule=rule, eta=etas[step], noise=noise
        )
    return images


def require_same_sampler(
    steps: Sequence[int], found_at: tuple[int, ...], total: int, timesteps: Sequence[int]
) -> None:
    """Require that a sampler visits the noise levels at which directions were found.

    Raises:
        InputError: it does not.
    """
    visited = tuple(timesteps[step] for step in steps) if total == len(timesteps) else ()
    if visited != found_at:
        raise InputError(
            f"the directions were found with {total} steps (timesteps {_few(found_at)}), the "
            "sampler takes "
            f"{len(timesteps)} ({_few(timesteps)}); sample with the same steps, or find them again"
        )


def _adding(change: Float[Tensor, "channel y x"]) -> Hook:
    def hook(value: Tensor, call: Call) -> Tensor:
        if value.shape[1:] != change.shape:
            raise InputError(
                f"the directions are {tuple(change.shape)}, {call.site} holds "
                f"{tuple(value.shape[1:])}; find them in this network"
            )
        return value + change.to(value)

    return hook


def _etas(steps: int, eta: float, boost: int | None) -> list[float]:
    if not 0 <= eta <= 1:
        raise InputError(f"eta is {eta}; give 0 (no noise) to 1 (as much as DDPM)")
    if boost is not None and not 0 <= boost <= steps:
        raise InputError(
            f"boosting from step {boost} of {steps}; give 0 to {steps}, or None for none"
        )
    return [1.0 if boost is not None and step >= boost else eta for step in range(steps)]


def _few(numbers: Sequence[int]) -> str:
    first = [str(number) for number in numbers[:3]]
    return ", ".join([*first, "…"] if len(numbers) > 3 else first)
