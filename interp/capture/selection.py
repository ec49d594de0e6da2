"""The rule by which tokens of a language model become rows."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.core.names import require_known
from interp.models.protocol import Batch

Which = Literal["all", "last"]


@dataclass(frozen=True)
class TokenSelection:
    """The rule by which tokens become rows; every result states it.

    Padding never counts. By default neither do special tokens (BOS) nor the first position of a
    sequence: without context it is unlike all others, and one massive row ruins a factorisation.
    `which="last"` keeps only the last token of each text that counts.
    """

    skip_special: bool = True
    skip_first: int = 1
    which: Which = "all"

    def __post_init__(self) -> None:
        require_known("token selection", self.which, get_args(Which))

    def mask(
        self, batch: Batch, positions: Int[Tensor, "batch position"]
    ) -> Bool[Tensor, "batch position"]:
        """Which tokens of a batch count."""
        mask = positions >= self.skip_first
        if self.skip_special and batch.special is not None:
            mask = mask & ~batch.special
        if self.which == "last":
            counted = torch.where(mask, positions, -1)
            mask = mask & (counted == counted.max(dim=1, keepdim=True).values)
        return mask

    def __str__(self) -> str:
        parts = ["padding left out"]
        if self.skip_special:
            parts.append("special tokens left out")
        if self.skip_first:
            first = "position" if self.skip_first == 1 else f"{self.skip_first} positions"
            parts.append(f"first {first} left out")
        if self.which == "last":
            parts.append("last token only")
        return ", ".join(parts)
