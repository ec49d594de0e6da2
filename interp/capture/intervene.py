"""intervene(): add to a site's activations, project out of them or replace them during a run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from interp.core import InputError
from interp.models.protocol import Call, Hook, Model


@dataclass(frozen=True)
class Where:
    """Which tokens an intervention changes: those of the prompt, those generated, from a position
    on.

    Positions do not depend on a key-value cache, so cached and uncached decoding agree.
    """

    prompt: bool = True
    generated: bool = True
    first_position: int = 0

    def mask(self, call: Call) -> Bool[Tensor, "batch position"] | None:
        """The tokens to change; None means all (for networks without tokens, everything)."""
        if call.positions is None or self == Where():
            return None
        touched = call.positions >= self.first_position
        if call.prompt_length is None:
            return touched & self.prompt
        generated = call.positions >= call.prompt_length[:, None]
        return touched & ((generated & self.generated) | (~generated & self.prompt))


EVERYWHERE = Where()


@dataclass(frozen=True)
class Intervention(ABC):
    """A hook that changes a site, at some tokens if `where` says so, and never in place."""

    def __call__(self, value: Tensor, call: Call) -> Tensor:
        if value.ndim == 4:
            last = rearrange(value, "batch d y x -> batch y x d")
            changed = rearrange(self._change(last.float()), "batch y x d -> batch d y x")
        else:
            changed = self._change(value.float())
        changed = changed.to(value.dtype)
        mask = self._where().mask(call)
        return changed if mask is None else torch.where(mask[..., None], changed, value)

    @abstractmethod
    def _change(self, value: Tensor) -> Tensor:
        """The new value, the feature axis last."""

    @abstractmethod
    def _where(self) -> Where: ...


@dataclass(frozen=True)
class Add(Intervention):
    """Add a vector: `x + vector`.

    `vector [d]` is added everywhere; with `vector [cell, d]` each cell of the batch, a group of
    consecutive elements, gets its own (so one forward call serves many features and strengths).
    """

    vector: Float[Tensor, "*cell d"]
    where: Where = EVERYWHERE

    def _change(self, value: Tensor) -> Tensor:
        return value + _per_element(self.vector, value)

    def _where(self) -> Where:
        return self.where


@dataclass(frozen=True)
class ProjectOut(Intervention):
    """Remove the span of some directions: `x − Qᵀ Q x`, the rows of Q an orthonormal basis of
    `directions [k, d]`, which may be linearly dependent.
    """

    directions: Float[Tensor, "k d"]
    where: Where = EVERYWHERE

    def __post_init__(self) -> None:
        if self.directions.ndim != 2:
            raise InputError(
                f"directions has shape {tuple(self.directions.shape)}, expected [k, d]; give one "
                "direction as `direction[None]`"
            )

    @cached_property
    def _basis(self) -> Float[Tensor, "rank d"]:
        _, strengths, rows = torch.linalg.svd(self.directions.double(), full_matrices=False)
        # At the level of rounding, because norms of directions may differ by orders of magnitude.
        rounding = torch.finfo(torch.float32).eps * max(self.directions.shape)
        return rows[strengths > rounding * strengths.max(dim=0, keepdim=True).values].float()

    def _change(self, value: Tensor) -> Tensor:
        basis = self._basis.to(value.device)
        return value - (value @ basis.T) @ basis

    def _where(self) -> Where:
        return self.where


@dataclass(frozen=True)
class Replace(Intervention):
    """Replace the value by `vector [d]`, or by `[cell, d]` as `Add` spreads it over the batch."""

    vector: Float[Tensor, "*cell d"]
    where: Where = EVERYWHERE

    def _change(self, value: Tensor) -> Tensor:
        return _per_element(self.vector, value).expand_as(value)

    def _where(self) -> Where:
        return self.where


@contextmanager
def intervene(model: Model, interventions: Mapping[str, Hook]) -> Iterator[None]:
    """Change sites in every `run` and `generate` (prefill and decoding) inside a `with` block.

    Raises:
        InputError: a site does not exist, or a vector is not as wide as its site.

    Example:
        >>> with interp.intervene(model, {"L15.resid_post": Add(2.0 * direction)}):
        ...     model.generate("I think that")
    """
    for site, change in interventions.items():
        _check_width(model, site, change)
    with model.hooked(interventions):
        yield


def _check_width(model: Any, site: str, change: Hook) -> None:
    vector = (
        change.directions if isinstance(change, ProjectOut) else getattr(change, "vector", None)
    )
    if vector is None or not (width := model.sites.width(site)):
        return
    if vector.shape[-1] != width:
        raise InputError(
            f"the intervention at {site} is {vector.shape[-1]} wide but the site {width}; use a "
            "direction of that site"
        )


def _per_element(vector: Tensor, value: Tensor) -> Tensor:
    vector = vector.to(value.device, torch.float32)
    if vector.ndim == 1:
        return vector
    if value.shape[0] % len(vector):
        raise InputError(
            f"{len(vector)} vectors cannot be spread over a batch of {value.shape[0]}; give one, "
            "or a divisor of the batch"
        )
    spread = vector.repeat_interleave(value.shape[0] // len(vector), dim=0)
    return spread.reshape(len(spread), *(1,) * (value.ndim - 2), -1)
