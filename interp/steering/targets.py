"""Targets of steering, their shared protocol, and the random directions they are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.models.adapters.decoding import Sampling

SELECTION_PROMPTS = ("I think that", "The most important thing is")
REPORT_PROMPTS = (
    "It seems to me that",
    "Yesterday we talked about",
    "My friend told me that",
    "This is a story about",
    "There is something about",
    "People often say that",
)
STRENGTHS = (0.25, 0.5, 1.0)
Route = Literal["native", "companion", "random", "unsteered"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A direction to judge: `direction [d]` at `site`, for a concept; means are reported by
    `family`.
    """

    family: str
    method: str
    route: Route
    site: str
    direction: Float[Tensor, " d"]
    concept: str
    feature_id: str


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is done, the same for every target and control.

    `strengths` are KL divergences in nats; `signs=(1, -1)` tries both signs, each calibrated by
    itself; `n_random` random directions per site are the controls; `samples` is per prompt.

    Raises:
        InputError: a part is empty, selection and report share a prompt, or a strength or sign is
            out of range.
    """

    strengths: tuple[float, ...] = STRENGTHS
    signs: tuple[int, ...] = (1,)
    selection_prompts: tuple[str, ...] = SELECTION_PROMPTS
    report_prompts: tuple[str, ...] = REPORT_PROMPTS
    samples: int = 1
    n_random: int = 3
    sampling: Sampling = field(default_factory=lambda: Sampling(max_new_tokens=16))

    def __post_init__(self) -> None:
        shared = sorted(set(self.selection_prompts) & set(self.report_prompts))
        if shared or not self.selection_prompts or not self.report_prompts:
            raise InputError(
                f"selection and report prompts must be non-empty and differ; both hold {shared}"
            )
        if self.n_random < 1 or self.samples < 1 or not self.strengths or min(self.strengths) <= 0:
            raise InputError(
                f"strengths {self.strengths}, samples {self.samples}, n_random {self.n_random}: at "
                "least one of each, above 0, is needed"
            )
        if set(self.signs) not in ({1}, {-1}, {1, -1}):
            raise InputError(f"signs are {self.signs}; give (1,), (-1,) or (1, -1)")


def random_targets(targets: Sequence[Target], count: int, seed: int) -> list[Target]:
    """Random unit directions for each site: `count` dense ones and, if it has sparse targets,
    `count` as sparse as the sparsest.
    """
    result = []
    for site in dict.fromkeys(target.site for target in targets):
        here = [target.direction for target in targets if target.site == site]
        width, support = len(here[0]), min(int((direction != 0).sum()) for direction in here)
        result += _random(site, "dense", width, width, count, seed)
        if support < width:
            result += _random(site, "sparse", width, support, count, seed)
    return result


def _random(site: str, kind: str, width: int, support: int, count: int, seed: int) -> list[Target]:
    generator = torch.Generator().manual_seed(seed * 1000 + support)
    result = []
    for number in range(count):
        direction = torch.zeros(width)
        direction[torch.randperm(width, generator=generator)[:support]] = torch.randn(
            support, generator=generator
        )
        unit = torch.nn.functional.normalize(direction, dim=0)
        result.append(
            Target(
                family=f"random {kind} at {site}",
                method="random",
                route="random",
                site=site,
                direction=unit,
                concept="",
                feature_id=f"random-{kind}-{site}-{number}",
            )
        )
    return result
