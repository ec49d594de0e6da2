"""Directions over sampling steps: what is added at a site while an image is made."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.core.display.markup import block, facts, foreign, numeral, table
from interp.core.names import require_known
from interp.diffusion.records.activations import StepActivations

SHOWN = 12
PER_STEP = "direction step -> direction step 1 1 1"


@dataclass(frozen=True, eq=False, kw_only=True)
class StepDirections:
    """Directions of a site, `values [direction, step, channel, y, x]`: what is added at each of
    `steps` of a sampler of `total` steps.

    They belong to that sampler: another number of steps, or another spacing, visits other noise
    levels. `method` says how they were found. As plain json they are their names and where they
    come from.

    Example:
        >>> directions["radius"].norms
    """

    values: Float[Tensor, "direction step channel y x"] = field(metadata={"plain": False})
    names: tuple[str, ...]
    method: str
    site: str
    steps: tuple[int, ...]
    seed: int
    timesteps: tuple[int, ...] = field(metadata={"plain": False})
    total: int = field(metadata={"plain": False})

    def __post_init__(self) -> None:
        if len(self.names) != len(self.values) or len(set(self.names)) != len(self.names):
            raise InputError(
                f"{len(self.names)} names ({', '.join(self.names)}) for {len(self.values)} "
                "directions; give one each"
            )
        if not bool(self.values.isfinite().all()):
            raise InputError(
                f"directions found by {self.method} are not finite; see whether the network "
                "passes its gate"
            )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, name: str) -> "StepDirections":
        """One of them, by name."""
        require_known("direction", name, self.names)
        place = self.names.index(name)
        return replace(self, values=self.values[place : place + 1], names=(name,))

    @property
    def flat(self) -> Float[Tensor, "direction d"]:
        """All steps as one long vector each."""
        return self.values.flatten(1)

    @property
    def norms(self) -> Float[Tensor, " direction"]:
        """The length of each, over all steps."""
        return self.flat.norm(dim=1)

    def first(self, count: int) -> "StepDirections":
        """The first few."""
        return replace(self, values=self.values[:count], names=self.names[:count])

    def scaled(self, norm: float) -> "StepDirections":
        """The same directions, each of length `norm` over all steps.

        Raises:
            InputError: one is zero.
        """
        norms = self.norms
        if not bool((norms > 0).all()):
            raise InputError(
                f"direction {self.names[int(norms.argmin())]!r} is zero; it cannot be given a "
                "length"
            )
        factors = rearrange(norm / norms, "direction -> direction 1 1 1 1")
        return replace(self, values=self.values * factors)

    def _repr_html_(self) -> str:
        shown = self.first(SHOWN)
        rows = [
            (foreign(name), numeral(norm))
            for name, norm in zip(shown.names, shown.norms.tolist(), strict=True)
        ]
        channels, height, width = self.values.shape[2:]
        shape = f"{channels} × {height} × {width}"
        steps = f"{len(self.steps)} of {self.total}"
        named = facts(
            [
                ("method", foreign(self.method)),
                ("steps", steps),
                ("shape", shape),
                ("seed", self.seed),
            ]
        )
        rest = "" if len(self) <= SHOWN else f", the first {SHOWN}"
        body = table(("name", "length"), rows, caption=f"Length over all steps{rest}")
        return block("Directions", named, body, name=self.site, about=f"{len(self):,}")


def directions_like(
    acts: StepActivations, values: Tensor, names: Sequence[str], method: str
) -> StepDirections:
    """Directions `[direction, step, channel, y, x]`, or flat `[direction, d]`, found in some
    activations.
    """
    shaped = values.reshape(len(values), *acts.values.shape[1:])
    return StepDirections(
        values=shaped,
        names=tuple(names),
        steps=acts.steps,
        timesteps=acts.timesteps,
        site=acts.site,
        total=acts.total,
        method=method,
        seed=acts.seed,
    )


def random_like(
    directions: StepDirections, count: int | None = None, *, seed: int
) -> StepDirections:
    """Random directions with the norms of others at every step: the control of every direction.

    Entries are standard normal, scaled step by step; with `count` that many, each with the mean
    norms of them all.

    Example:
        >>> control = random_like(directions, 5, seed=1)
    """
    generator = torch.Generator().manual_seed(seed)
    values = directions.values
    norms = values.flatten(2).norm(dim=2)
    if count is not None:
        norms = norms.mean(dim=0, keepdim=True).expand(count, -1)
    drawn = torch.randn(len(norms), *values.shape[1:], generator=generator).to(values)
    unit = drawn / rearrange(drawn.flatten(2).norm(dim=2), PER_STEP)
    names = directions.names if count is None else tuple(f"random {i}" for i in range(count))
    return replace(
        directions,
        values=unit * rearrange(norms, PER_STEP),
        names=names,
        method="random",
        seed=seed,
    )
