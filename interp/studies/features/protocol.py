"""Settings of the main job."""

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
    """Settings of the main job; the defaults take five minutes on two CPU cores.

    `site` and `companion_site` default to a sixth and half of the network's depth, measured best on
    the default model (benchmarks/layers.py). Dictionaries are fitted on `texts`, by default the
    shipped concept sentences; `concept_names` selects some of the shipped concepts. With
    `stability` above 0 every method is refitted from that many other seeds and on halves of the
    texts, to score how well each feature is found again.
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
        """Settings shared by all fits."""
        return Fitting(
            sparsity=self.sparsity,
            coefficient_sparsity=self.coefficient_sparsity,
            seed=self.seed,
        )


def default_sites(model: TransformerModel) -> tuple[str, str]:
    """Where features are found (the MLP at a sixth of the depth) and companions steer (the residual
    stream at half).
    """
    return f"L{model.n_layers // 6}.mlp", f"L{model.n_layers // 2}.resid_post"
