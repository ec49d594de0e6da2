"""What the main job does."""

from dataclasses import dataclass, field
from typing import get_args

from interp.core.names import require_known
from interp.decompose import COEFFICIENT_SPARSITY, Unsupervised
from interp.models import DEFAULT_MODEL, TransformerModel
from interp.steering import Protocol
from interp.studies.methods import UNSUPERVISED
from interp.studies.stages import Fitting


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the main job does; the defaults are sized for two CPU cores and five minutes.

    `site` and `companion_site` default to a sixth and half of the network's depth, where
    measurement on the default model put them (benchmarks/layers.py). `texts` are what the
    dictionaries are fitted on; the shipped concept sentences if left out. `concept_names` restricts
    the shipped concepts to some of them. With `stability` above 0 every method is fitted again from
    that many other seeds and on halves of the texts, and every feature says how well it is found
    again.
    """

    model: str = DEFAULT_MODEL
    site: str | None = None
    companion_site: str | None = None
    methods: tuple[Unsupervised, ...] = UNSUPERVISED
    features: int = 100
    sparsity: float = 0.01
    coefficient_sparsity: float = COEFFICIENT_SPARSITY
    texts: tuple[str, ...] | None = None
    concept_names: tuple[str, ...] | None = None
    steered_concepts: int = 5
    protocol: Protocol = field(default_factory=Protocol)
    stability: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for method in self.methods:
            require_known("method", method, get_args(Unsupervised))

    @property
    def fitting(self) -> Fitting:
        """What all fits of the job have in common."""
        return Fitting(
            sparsity=self.sparsity,
            coefficient_sparsity=self.coefficient_sparsity,
            seed=self.seed,
        )


def default_sites(model: TransformerModel) -> tuple[str, str]:
    """Where features are found and where companions steer: the MLP at a sixth of the depth, the
    residual stream at half.
    """
    return f"L{model.n_layers // 6}.mlp", f"L{model.n_layers // 2}.resid_post"
