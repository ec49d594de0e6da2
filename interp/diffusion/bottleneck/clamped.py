"""Edits made with a UNet's bottleneck or skip connections clamped to their unedited values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.diffusion.edits.straight import Answers, AnyEdit, Rule, answer, trajectory
from interp.diffusion.sampling.ddim import batches
from interp.diffusion.sampling.labels import labelled
from interp.diffusion.sampling.levels import ddim, noise_levels
from interp.diffusion.scores.effects import Trial
from interp.models import Call, Hook
from interp.models.adapters.skips import skip_count
from interp.models.hooks import Point, placed
from interp.models.protocol import Frame

MIDDLE = "mid"

Values = Mapping[str, Tensor]
"""The carriers' values at one step: `[image, channel, y, x]` each."""
Run = tuple[AnyEdit, frozenset[str]]
"""An edit, and the carriers to clamp."""


@dataclass(frozen=True)
class _Skip:
    """A resnet of the up blocks: its first `width` input channels come from below, the others are
    the skip.
    """

    name: str
    resnet: Any
    width: int


def _skips_of(module: Any) -> tuple[_Skip, ...]:
    """Deepest first; `skip0` comes from the first convolution."""
    found: list[_Skip] = []
    try:
        total, width = skip_count(module), int(module.config.block_out_channels[-1])
        for block in module.up_blocks:
            for resnet in block.resnets:
                found.append(_Skip(f"skip{total - 1 - len(found)}", resnet, width))
                width = int(resnet.out_channels)
    except AttributeError as error:
        raise InputError(
            f"the way up of this {type(module).__name__} is not one of resnets that say their "
            f"channels ({error})"
        ) from error
    return tuple(found)


@dataclass(frozen=True, eq=False)
class ClampedRuns:
    """Samples a trial's images, edited, with some carriers clamped to their values in the unedited
    run of the same seeds.

    Carriers are `mid` and every skip, `skip0` (from the first convolution) to the deepest. At `mid`
    an edit comes on top of the clamp.

    Raises:
        InputError: a network whose up blocks are not resnets that each read a skip.

    Example:
        >>> ClampedRuns(trial).changes([(edit, frozenset({"skip0"}))])
    """

    trial: Trial

    @cached_property
    def _skips(self) -> tuple[_Skip, ...]:
        return _skips_of(self.trial.model.module)

    @property
    def carriers(self) -> tuple[str, ...]:
        """All carriers, the bottleneck first."""
        return (MIDDLE, *(skip.name for skip in reversed(self._skips)))

    @cached_property
    def _times(self) -> tuple[int, ...]:
        return noise_levels(self.trial.model, self.trial.steps).timesteps

    def require(self, edit: AnyEdit) -> None:
        """Require an edit of the bottleneck, for this sampler.

        Raises:
            InputError: it is not.
        """
        if self.trial.model.sites.resolve(edit.site) != MIDDLE:
            raise InputError(
                f"the edit is at {edit.site}; shares are of edits of the bottleneck, {MIDDLE}"
            )
        edit.require_sampler(self._times)

    @torch.no_grad()
    def changes(
        self, runs: Sequence[Run], progress: Progress = silent
    ) -> list[Float[np.ndarray, "image factor"]]:
        """Every run's change of every factor of every image, in standard deviations of the data;
        NaN where an image is unreadable before or after.

        Cost: a sampling of the trial's images per run, and one more.
        """
        trial, done = self.trial, 0
        parts: list[list[Tensor]] = [[] for _ in runs]
        for batch in batches(len(trial.base), trial.seed, trial.labels, trial.batch_size):
            with labelled(trial.model.module, batch.labels):
                unedited: list[Values] = []
                self._sampled(batch.seeds, "symmetric", partial(self._recorded, unedited))
                for run, made in zip(runs, parts, strict=True):
                    answers = partial(self._clamped, run, unedited)
                    made.append(self._sampled(batch.seeds, run[0].rule, answers))
                    done += len(batch.seeds)
                    progress("carriers", done, len(trial.base) * len(runs), "image")
        return [(trial.judge.table(torch.cat(images)) - trial.base).numpy() for images in parts]

    def _sampled(self, seeds: Sequence[int], rule: Rule, answers: Answers) -> Tensor:
        trial = self.trial
        return trajectory(
            trial.model,
            seeds,
            answers,
            ddim(trial.model, trial.steps),
            rule=rule,
            etas=[trial.eta] * trial.steps,
        )

    def _recorded(self, found: list[Values], step: int, images: Tensor) -> tuple[Tensor, Tensor]:
        """The unedited answer; appends the carriers' values to `found`."""
        now: dict[str, Tensor] = {}

        def keep(name: str, value: Tensor, call: Call) -> None:
            now[name] = value.clone()

        plain = self._answer(images, step, {name: partial(keep, name) for name in self.carriers})
        if missing := [name for name in self.carriers if name not in now]:
            raise InputError(
                f"{missing[0]} of {self.trial.model.name} is not read on its way up; its "
                "carriers cannot be told apart"
            )
        found.append(now)
        return plain, plain

    def _clamped(
        self, run: Run, unedited: Sequence[Values], step: int, images: Tensor
    ) -> tuple[Tensor, Tensor]:
        edit, names = run
        fixed: dict[str, Hook] = {name: partial(_instead, unedited[step][name]) for name in names}
        change = edit.hook(step)
        if change is None:
            plain = self._answer(images, step, fixed)
            return plain, plain
        edited = self._answer(
            images, step, {**fixed, MIDDLE: partial(_then, fixed.get(MIDDLE), change)}
        )
        return (edited if edit.rule == "symmetric" else self._answer(images, step, fixed)), edited

    def _answer(self, images: Tensor, step: int, hooks: Mapping[str, Hook]) -> Tensor:
        middle = {MIDDLE: hooks[MIDDLE]} if MIDDLE in hooks else {}
        chosen = {skip.name: skip for skip in self._skips if skip.name in hooks}
        points = {name: Point(skip.resnet, "input") for name, skip in chosen.items()}
        with placed(
            points,
            {name: partial(_on_skip, skip.width, hooks[name]) for name, skip in chosen.items()},
            Frame(),
        ):
            return answer(self.trial.model, images, self._times[step], middle)


def _instead(clamped: Tensor, value: Tensor, call: Call) -> Tensor:
    return clamped


def _then(first: Hook | None, change: Hook, value: Tensor, call: Call) -> Tensor | None:
    kept = None if first is None else first(value, call)
    changed = change(value if kept is None else kept, call)
    return kept if changed is None else changed


def _on_skip(width: int, hook: Hook, value: Tensor, call: Call) -> Tensor | None:
    found = hook(value[:, width:], call)
    return None if found is None else torch.cat([value[:, :width], found], dim=1)
