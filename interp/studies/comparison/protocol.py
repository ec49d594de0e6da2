"""Settings of a comparison."""

from dataclasses import dataclass, field
from typing import get_args

from interp.core import InputError
from interp.core.names import require_known
from interp.decompose import COEFFICIENT_SPARSITY, SAE_STEPS, Unsupervised
from interp.models import DEFAULT_MODEL
from interp.steering import Protocol
from interp.studies.methods import UNSUPERVISED
from interp.studies.stages import Fitting


@dataclass(frozen=True, kw_only=True)
class LiftProtocol:
    """How likelihood lift is measured: at `kl` nats, against `n_random` random directions, on
    numbers of held-out sentences cut to `tokens` tokens."""

    kl: float = 0.5
    n_random: int = 50
    concept_sentences: int = 8
    other_sentences: int = 16
    tokens: int = 24


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of decompositions, with difference in means and random directions.

    Dictionaries are fitted and steer by their own directions at `sites`, by companions at `places`;
    by default these are the MLPs at a sixth, a half and five sixths of the depth, and the residual
    stream at a third and a half. `sizes` are numbers of features. All methods steer with the same
    `concepts` concepts: those the dictionaries together detect best on the fit sentences.

    Raises:
        InputError: a part is empty or out of range, or a method is unknown.
    """

    model: str = DEFAULT_MODEL
    sites: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    methods: tuple[Unsupervised, ...] = UNSUPERVISED
    sizes: tuple[int, ...] = (100,)
    sparsity: float = 0.01
    coefficient_sparsity: float = COEFFICIENT_SPARSITY
    sae_steps: int = SAE_STEPS
    concepts: int = 6
    concept_names: tuple[str, ...] | None = None
    protocol: Protocol = field(default_factory=Protocol)
    lift: LiftProtocol = field(default_factory=LiftProtocol)
    seed: int = 0

    def __post_init__(self) -> None:
        for method in self.methods:
            require_known("method", method, get_args(Unsupervised))
        if not self.methods or not self.sizes or min(self.sizes) < 1 or self.concepts < 1:
            raise InputError(
                f"methods {self.methods}, sizes {self.sizes}, concepts {self.concepts}: at least "
                "one of each is needed"
            )

    @property
    def fitting(self) -> Fitting:
        """Settings shared by all fits."""
        return Fitting(
            sparsity=self.sparsity,
            coefficient_sparsity=self.coefficient_sparsity,
            sae_steps=self.sae_steps,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class ResolvedComparison(Comparison):
    """A comparison with its network's sites, places and hash."""

    weight_hash: str


def default_sites(n_layers: int) -> tuple[str, ...]:
    """The MLPs at a sixth, a half and five sixths of the depth."""
    return tuple(dict.fromkeys(f"L{n_layers * sixths // 6}.mlp" for sixths in (1, 3, 5)))


def default_places(n_layers: int) -> tuple[str, ...]:
    """The residual stream at a third and at half of the depth."""
    return tuple(dict.fromkeys(f"L{n_layers * sixths // 6}.resid_post" for sixths in (2, 3)))
