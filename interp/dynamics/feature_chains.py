"""Following features from checkpoint to checkpoint along their links."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int


@dataclass(frozen=True)
class Chain:
    """One feature's life: its number at every checkpoint from `first` on."""

    first: int
    features: tuple[int, ...]

    @property
    def last(self) -> int:
        """The last checkpoint where it is present."""
        return self.first + len(self.features) - 1


def chains_of(
    links: Int[np.ndarray, "gap feature"],
    present: Bool[np.ndarray, "checkpoint feature"],
    hold: int,
) -> tuple[Chain, ...]:
    """The chains that live at least `hold` checkpoints, the oldest first.

    Args:
        links: each feature's number at the next checkpoint, or -1.
        present: which features are present.
        hold: the shortest life that counts.

    Example:
        >>> chains_of(np.array([[0, -1]]), np.array([[True, True], [True, True]]), 2)
        (Chain(first=0, features=(0, 0)),)
    """
    chains = []
    for checkpoint, there in enumerate(present):
        continued = set() if checkpoint == 0 else set(links[checkpoint - 1].tolist())
        for feature in np.flatnonzero(there).tolist():
            if feature not in continued:
                chains.append(Chain(checkpoint, _followed(links, checkpoint, feature)))
    return tuple(chain for chain in chains if len(chain.features) >= hold)


def _followed(
    links: Int[np.ndarray, "gap feature"], checkpoint: int, feature: int
) -> tuple[int, ...]:
    features = [feature]
    while checkpoint < len(links) and links[checkpoint, features[-1]] >= 0:
        features.append(int(links[checkpoint, features[-1]]))
        checkpoint += 1
    return tuple(features)
