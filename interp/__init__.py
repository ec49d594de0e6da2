"""Features of neural networks: find them, describe them, and score whether they detect and steer.

The loop: `load_model` or `wrap` a network, `record` activations, `fit_*` a dictionary, `describe` its features, score them, `report`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.capture import TokenSelection, intervene, load_activations, record, save_activations
    from interp.core import Activations, Score
    from interp.corpus import load_concepts
    from interp.decompose import (
        Dictionary,
        fit_difference_in_means,
        fit_pca,
        fit_sae,
        fit_snmf,
        load_dictionary,
        random_dictionary,
    )
    from interp.features import Feature, companion, companions, describe
    from interp.models import SamplingPlan, load_model, wrap
    from interp.pipeline import Settings, main_job
    from interp.steering import evaluate_steering, fit_offline_judge, steer

_HOMES = {
    "Activations": "core",
    "Dictionary": "decompose",
    "Feature": "features",
    "SamplingPlan": "models",
    "Score": "core",
    "TokenSelection": "capture",
    "companion": "features",
    "companions": "features",
    "describe": "features",
    "evaluate_steering": "steering",
    "fit_difference_in_means": "decompose",
    "fit_offline_judge": "steering",
    "fit_pca": "decompose",
    "fit_sae": "decompose",
    "fit_snmf": "decompose",
    "intervene": "capture",
    "load_activations": "capture",
    "load_concepts": "corpus",
    "load_dictionary": "decompose",
    "load_model": "models",
    "random_dictionary": "decompose",
    "record": "capture",
    "Settings": "pipeline",
    "main_job": "pipeline",
    "save_activations": "capture",
    "steer": "steering",
    "wrap": "models",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Public names are imported at first use, so that importing the package does no work."""
    if name not in _HOMES:
        raise AttributeError(f"module 'interp' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(f"interp.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
