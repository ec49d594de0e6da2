"""The one door into a network: `run(inputs, hooks, stop_after)`.

Recording, steering, patching and attribution are hook functions over `run`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from interp.core import InputError, Sites


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Inputs of one forward call, ready for the network.

    `inputs` are the arguments of the network's forward; `items [batch]` numbers each element's
    input, `offsets [batch]` the position of its first token there. `keep [batch, position]` is
    False on padding, `special` True on tokens the tokenizer added (BOS).
    """

    inputs: Mapping[str, Any]
    items: Int[np.ndarray, " batch"]
    offsets: Int[np.ndarray, " batch"]
    keep: Bool[Tensor, "batch position"] | None = None
    special: Bool[Tensor, "batch position"] | None = None


@dataclass(frozen=True)
class Prepared:
    """Inputs: each one's name (its text) and tokens, and the batches, longest first."""

    items: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]
    batches: Sequence[Batch]


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a hook gets besides the value.

    `positions [batch, position]` are token positions, -1 on padding (None without tokens);
    `prompt_length [batch]` is set while generating; `step` is a diffusion network's sampling step.
    """

    site: str
    batch: Batch | None = None
    positions: Int[Tensor, "batch position"] | None = None
    prompt_length: Int[Tensor, " batch"] | None = None
    step: int = 0


Hook = Callable[[Tensor, Call], Tensor | None]
"""Gets the value at a site; returns a new tensor of its shape, or None to leave it. Never writes in
place.
"""


@runtime_checkable
class Model(Protocol):
    """Any network: a language model, a UNet, a classifier.

    `weight_hash` identifies the weights in provenance. `run` returns the network's output, or None
    when `stop_after` ended it early.
    """

    name: str

    @property
    def sites(self) -> Sites: ...

    @property
    def weight_hash(self) -> str: ...

    def prepare(self, inputs: Any, batch_size: int | None = None) -> Prepared: ...

    def run(
        self,
        inputs: Any,
        hooks: Mapping[str, Hook] = ...,
        *,
        stop_after: str | Iterable[str] | None = None,
    ) -> Any: ...

    def hooked(self, hooks: Mapping[str, Hook]) -> AbstractContextManager[None]: ...


def checked_batch_size(size: int | None) -> int | None:
    """A batch size (None: the adapter chooses).

    Raises:
        InputError: it is less than 1.
    """
    if size is not None and size < 1:
        raise InputError(f"batch_size is {size}; give at least 1, or leave it out")
    return size


@dataclass(eq=False, kw_only=True)
class Frame:
    """Where a forward call stands; adapters update it, hooks receive it as a `Call`."""

    batch: Batch | None = None
    positions: Tensor | None = None
    prompt_length: Tensor | None = None
    step: int = 0
    armed: bool = field(default=True)

    def shaped(self, value: Tensor) -> Tensor:
        """A value with its token axis: OPT's layers flatten a batch's tokens into rows."""
        if self.positions is None or value.ndim != 2 or len(value) != self.positions.numel():
            return value
        return value.reshape(*self.positions.shape, -1)

    def call(self, site: str, value: Tensor) -> Call:
        """The frame seen from one site."""
        positions = self.positions
        if positions is not None and value.ndim == 3:
            # In generation only the last positions are unembedded.
            positions = positions[:, positions.shape[1] - value.shape[1] :]
        return Call(
            site=site,
            batch=self.batch,
            positions=positions,
            prompt_length=self.prompt_length,
            step=self.step,
        )
