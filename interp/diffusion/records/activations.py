"""Recording a generator's site at every sampling step, or at those of a window."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.diffusion.sampling.ddim import BATCH, STEPS, sample, timesteps
from interp.diffusion.sampling.labels import Labels
from interp.models import Call, Hook, UNetModel


@dataclass(frozen=True, kw_only=True)
class StepActivations:
    """A site over images and sampling steps: `values [image, step, channel, y, x]`.

    `steps` are the recorded sampling steps, `timesteps` the network's time at each, `images` the
    final images, `total` the sampler's number of steps. Directions found here fit this sampler.
    """

    values: Float[Tensor, "image step channel y x"]
    steps: tuple[int, ...]
    timesteps: tuple[int, ...]
    images: Float[Tensor, "image channel_out y_out x_out"]
    site: str
    total: int
    seed: int

    def __len__(self) -> int:
        return len(self.values)

    def within(self, window: range) -> "StepActivations":
        """Only the steps of a window.

        Raises:
            InputError: one was not recorded.
        """
        chosen = checked_window(window, self.total)
        missing = [step for step in chosen if step not in self.steps]
        if missing:
            raise InputError(
                f"step {missing[0]} was not recorded; recorded are {self.steps[0]} to "
                f"{self.steps[-1]}"
            )
        places = [self.steps.index(step) for step in chosen]
        return replace(
            self,
            values=self.values[:, places],
            steps=tuple(chosen),
            timesteps=tuple(self.timesteps[place] for place in places),
        )


def checked_window(window: range | None, total: int) -> range:
    """The step window (None: every step); step 0 is the noisiest.

    Raises:
        InputError: it is empty or reaches beyond the sampler's steps.
    """
    chosen = range(total) if window is None else window
    if len(chosen) == 0 or min(chosen) < 0 or max(chosen) >= total:
        raise InputError(
            f"step window {chosen} does not lie within the sampler's {total} steps; give a "
            f"part of range({total})"
        )
    return chosen


def record_steps(
    model: UNetModel,
    count: int,
    site: str = "mid",
    *,
    seed: int,
    steps: int = STEPS,
    window: range | None = None,
    labels: Labels | None = None,
    hooks: Mapping[str, Hook] = {},
    batch_size: int = BATCH,
    progress: Progress = silent,
) -> StepActivations:
    """Sample images and record a site at the steps of a window; `hooks` may change other sites.

    Raises:
        InputError: an unknown site, a window beyond the steps, or a hook at the recorded site.

    Cost: `count × steps` evaluations of the UNet; memory for the values, once.

    Example:
        >>> acts = record_steps(model, 512, seed=0, window=range(5, 15))
        >>> acts.values.shape
    """
    return record_sites(
        model,
        count,
        [site],
        seed=seed,
        steps=steps,
        window=window,
        labels=labels,
        hooks=hooks,
        batch_size=batch_size,
        progress=progress,
    )[site]


def record_sites(
    model: UNetModel,
    count: int,
    sites: Sequence[str],
    *,
    seed: int,
    steps: int = STEPS,
    window: range | None = None,
    labels: Labels | None = None,
    hooks: Mapping[str, Hook] = {},
    batch_size: int = BATCH,
    progress: Progress = silent,
) -> dict[str, StepActivations]:
    """`record_steps` for several sites in one pass.

    Raises:
        InputError: as `record_steps`, or no site.

    Example:
        >>> record_sites(model, 64, ["mid", "up0"], seed=0)["up0"]
    """
    chosen = checked_window(window, steps)
    names = [model.sites.resolve(site) for site in sites]
    taken = {model.sites.resolve(site) for site in hooks} & set(names)
    if not names or taken:
        raise InputError(
            f"{sorted(taken)} are to be changed and recorded at once; choose one"
            if taken
            else "no site was given"
        )
    keepers = {name: Keeper(chosen) for name in names}
    both = {**hooks, **{name: keeper.hook for name, keeper in keepers.items()}}
    images = sample(
        model,
        count,
        seed=seed,
        steps=steps,
        labels=labels,
        hooks=both,
        batch_size=batch_size,
        progress=progress,
    )
    times = timesteps(model, steps)
    return {
        site: StepActivations(
            values=keepers[name].values(),
            steps=tuple(chosen),
            timesteps=tuple(times[step] for step in chosen),
            images=images,
            site=name,
            total=steps,
            seed=seed,
        )
        for site, name in zip(sites, names, strict=True)
    }


@dataclass
class Keeper:
    """Collects a site's values at the steps of a window, batch by batch."""

    window: range
    parts: dict[int, list[Tensor]] = field(default_factory=dict)

    def hook(self, value: Tensor, call: Call) -> None:
        if call.step in self.window:
            # A copy: the network may overwrite its activation in place.
            self.parts.setdefault(call.step, []).append(value.detach().clone())

    def values(self) -> Tensor:
        """`[image, step, channel, y, x]`; a step's batches are freed once joined."""
        return torch.stack([torch.cat(self.parts.pop(step)) for step in self.window], dim=1)
