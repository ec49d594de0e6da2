"""Directions over sampling steps: what is added at a site while an image is sampled."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import InputError
from interp.core.display.markup import block, facts, foreign, numeral, table
from interp.core.names import require_known
from interp.diffusion.records.activations import StepActivations

SHOWN = 12
PER_STEP = "direction step -> direction step 1 1 1"


@dataclass(frozen=True, eq=False, kw_only=True)
class StepDirections:
    """Directions of a site: what is added at each of `steps` of a sampler of `total` steps.

    They fit that sampler only: another number or spacing of steps visits other noise levels. Plain
    json has their names and origin, not `values`.

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
        """One direction, by name."""
        require_known("direction", name, self.names)
        place = self.names.index(name)
        return replace(self, values=self.values[place : place + 1], names=(name,))

    @property
    def flat(self) -> Float[Tensor, "direction d"]:
        """Each direction over all steps as one vector."""
        return self.values.flatten(1)

    @property
    def norms(self) -> Float[Tensor, " direction"]:
        """Each direction's length over all steps."""
        return self.flat.norm(dim=1)

    def first(self, count: int) -> "StepDirections":
        """The first `count` directions."""
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
        first = self.first(SHOWN)
        rows = [
            (foreign(name), numeral(norm))
            for name, norm in zip(first.names, first.norms.tolist(), strict=True)
        ]
        named = facts(
            [
                ("method", foreign(self.method)),
                ("steps", f"{len(self.steps)} of {self.total}"),
                ("shape", " × ".join(map(str, self.values.shape[2:]))),
                ("seed", self.seed),
            ]
        )
        rest = "" if len(self) <= SHOWN else f", the first {SHOWN}"
        body = table(("name", "length"), rows, caption=f"Length over all steps{rest}")
        return block("Directions", named, body, name=self.site, about=f"{len(self):,}")


def directions_like(
    acts: StepActivations, values: Tensor, names: Sequence[str], method: str
) -> StepDirections:
    """Directions found in activations, from values per step or flat, `[direction, d]`."""
    return StepDirections(
        values=values.reshape(len(values), *acts.values.shape[1:]),
        names=tuple(names),
        steps=acts.steps,
        timesteps=acts.timesteps,
        site=acts.site,
        total=acts.total,
        method=method,
        seed=acts.seed,
    )


def matched(
    overlaps: Float[Tensor, "before after"],
) -> tuple[Int[Tensor, " before"], Float[Tensor, " before"]]:
    """The one-to-one order of `after` with the largest absolute overlaps, and their signs."""
    from scipy.optimize import linear_sum_assignment

    _, order = linear_sum_assignment(-overlaps.abs().numpy())
    signs = overlaps[range(len(order)), order].sign()
    return torch.from_numpy(order), torch.where(signs == 0, 1, signs)


def random_like(
    directions: StepDirections, count: int | None = None, *, seed: int
) -> StepDirections:
    """Random directions with the norms of others at every step: the control of every direction.

    Entries are standard normal, scaled per step; with `count`, that many with the mean norms.

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
