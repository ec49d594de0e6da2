"""Both passes of classifier-free guidance: recorded side by side, and edited together, one alone,
or in opposite directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.core.names import require_known
from interp.diffusion.edits.straight import AnyEdit, answer, trajectory
from interp.diffusion.records.activations import StepActivations, checked_window, record_steps
from interp.diffusion.sampling.ddim import BATCH, STEPS, batches
from interp.diffusion.sampling.labels import Labels, labelled
from interp.diffusion.sampling.levels import ddim
from interp.models import Call, Hook, UNetModel

Reach = Literal["both", "conditional", "unconditional", "difference"]

_SIGNS = {"both": (1, 1), "conditional": (1, 0), "unconditional": (0, 1), "difference": (1, -1)}


@dataclass(frozen=True)
class Halves:
    """A site in both passes of guidance, for the same guided images."""

    conditional: StepActivations
    unconditional: StepActivations


@torch.no_grad()
def record_halves(
    pair: UNetModel,
    count: int,
    site: str = "mid",
    *,
    seed: int,
    steps: int = STEPS,
    window: range | None = None,
    labels: Labels | None = None,
    batch_size: int = BATCH,
    progress: Progress = silent,
) -> Halves:
    """Sample guided images once and record a site in both passes.

    Args:
        pair: a model made by `guided`.

    Raises:
        InputError: a model that is not guided, an unknown site, or a window beyond the steps.

    Cost: `2 × count × steps` evaluations of the UNet; memory for twice the values.

    Example:
        >>> found = record_halves(guided(model, 3.0), 64, seed=0, labels=labels)
        >>> found.conditional.values - found.unconditional.values
    """
    halves = _halves_of(pair)
    kept = _InTurn(checked_window(window, steps), steps)
    with halves.hidden.hooked({site: kept.hook}):
        seen = record_steps(
            pair,
            count,
            site,
            seed=seed,
            steps=steps,
            window=window,
            labels=labels,
            batch_size=batch_size,
            progress=progress,
        )
    hidden = replace(seen, values=kept.values())
    return Halves(seen, hidden) if halves.conditional_is_open else Halves(hidden, seen)


@torch.no_grad()
def sample_guided(
    pair: UNetModel,
    count: int,
    edit: AnyEdit | None,
    *,
    reach: Reach = "both",
    seed: int,
    steps: int = STEPS,
    eta: float = 0.0,
    labels: Labels | None = None,
    batch_size: int = BATCH,
    progress: Progress = silent,
) -> Float[Tensor, "image channel y x"]:
    """Generate guided images with an edit in both passes of every step, in one, or added in one
    and subtracted in the other.

    With c the conditional pass, u the unconditional and w the scale, the answer is
    `u(h_u + r Δ) + w (c(h_c + s Δ) − u(h_u + r Δ))`, where (s, r) is (1, 1) for `both`, (1, 0) for
    `conditional`, (0, 1) for `unconditional` and (1, −1) for `difference`. To first order these
    changes weigh 1, w, 1 − w and 2 w − 1, so compare reaches at equal measured effect, not at equal
    strength. At w = 1 the unconditional pass drops out: all but `unconditional` are the plain edit.

    Args:
        pair: a model made by `guided`, with hooks in either half.
        edit: None for guided images without an edit.

    Raises:
        InputError: a model that is not guided, an unknown reach, an edit of another sampler, or
            labels that do not fit.

    Source: Ho & Salimans 2022 (arXiv 2207.12598) for guidance. Cost: `2 × count × steps`
    evaluations of the UNet, twice that at steps with an asymmetric edit.

    Example:
        >>> pair, edit = guided(model, 3.0), Edit(directions["x"], (0.04,))
        >>> sample_guided(pair, 16, edit, reach="difference", seed=7, labels=labels)
    """
    require_known("reach", reach, _SIGNS)
    halves = _halves_of(pair)
    sampler = ddim(pair, steps)
    times = sampler[1].timesteps
    if edit is not None:
        edit.require_sampler(times)
    answers = partial(_answers, halves, edit, _SIGNS[reach], times)
    rule = "symmetric" if edit is None else edit.rule
    parts = []
    for batch in batches(count, seed, labels, batch_size):
        with labelled(pair.module, batch.labels):
            parts.append(
                trajectory(pair, batch.seeds, answers, sampler, rule=rule, etas=[eta] * steps)
            )
        progress("sample guided", batch.rows.stop, count, "image")
    return torch.cat(parts)


@dataclass(frozen=True)
class _Pair:
    """A guided model, and its hidden half as a model, so that hooks reach one pass each."""

    pair: UNetModel
    hidden: UNetModel
    conditional_is_open: bool


def _halves_of(pair: UNetModel) -> _Pair:
    module = pair.module
    if not hasattr(module, "unconditional") or not hasattr(module, "open"):
        raise InputError(f"{pair.name} is not guided; give guided(model, scale)")
    conditional_is_open = module.open is module.conditional
    hidden = module.unconditional if conditional_is_open else module.conditional
    return _Pair(pair, UNetModel(hidden, pair.scheduler, name=pair.name), conditional_is_open)


def _answers(
    halves: _Pair,
    edit: AnyEdit | None,
    signs: tuple[int, int],
    times: Sequence[int],
    step: int,
    images: Tensor,
) -> tuple[Tensor, Tensor]:
    hook = None if edit is None else edit.hook(step)
    if edit is None or hook is None:
        plain = answer(halves.pair, images, times[step])
        return plain, plain
    outer, hidden = signs if halves.conditional_is_open else signs[::-1]
    with halves.hidden.hooked(_signed(edit.site, hook, hidden)):
        edited = answer(halves.pair, images, times[step], _signed(edit.site, hook, outer))
    plain = edited if edit.rule == "symmetric" else answer(halves.pair, images, times[step])
    return plain, edited


def _signed(site: str, hook: Hook, sign: int) -> dict[str, Hook]:
    """The hook, one that subtracts what it adds, or none."""

    def opposite(value: Tensor, call: Call) -> Tensor | None:
        changed = hook(value, call)
        return None if changed is None else 2 * value - changed

    return {} if sign == 0 else {site: hook if sign > 0 else opposite}


@dataclass
class _InTurn:
    """Collects values of calls that do not carry their step: counts them, batch by batch."""

    window: range
    steps: int
    calls: int = 0
    parts: dict[int, list[Tensor]] = field(default_factory=dict)

    def hook(self, value: Tensor, call: Call) -> None:
        step = self.calls % self.steps
        self.calls += 1
        if step in self.window:
            self.parts.setdefault(step, []).append(value.detach().clone())

    def values(self) -> Float[Tensor, "image step channel y x"]:
        return torch.stack([torch.cat(self.parts.pop(step)) for step in self.window], dim=1)
