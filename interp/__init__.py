"""Features of neural networks: find them, describe them, and score whether they detect and steer.

The loop: `load_model` or `wrap` a network, `record` activations, `fit_*` a dictionary, `describe`
its features, score them, `report`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.capture import (
        TokenSelection,
        appending_activations,
        intervene,
        load_activations,
        open_activations,
        record,
        save_activations,
    )
    from interp.causal import CausalGraph, Edge, path_effects
    from interp.commands.report import main_job
    from interp.core import Activations, Score
    from interp.corpus import load_concepts
    from interp.decompose import (
        Dictionary,
        SnmfStream,
        fit_difference_in_means,
        fit_hierarchy,
        fit_pca,
        fit_sae,
        fit_snmf,
        load_dictionary,
        load_public_sae,
        random_dictionary,
        stability,
        sweep_sae,
    )
    from interp.detection import sparse_probing
    from interp.dynamics import Axis, Checkpoint, Trajectories, checkpoints_of, track
    from interp.features import Feature, companion, companions, describe, loss_recovered, show
    from interp.models import SamplingPlan, load_model, wrap
    from interp.steering import (
        EndpointJudge,
        evaluate_steering,
        fit_offline_judge,
        likelihood_lift,
        steer,
    )
    from interp.studies.comparison import Comparison, LiftProtocol, compare
    from interp.studies.features.protocol import Settings
    from interp.studies.paths import trace_task

_HOMES = {
    "Activations": "core",
    "Axis": "dynamics",
    "CausalGraph": "causal",
    "Checkpoint": "dynamics",
    "Comparison": "studies.comparison",
    "Dictionary": "decompose",
    "Edge": "causal",
    "EndpointJudge": "steering",
    "Feature": "features",
    "LiftProtocol": "studies.comparison",
    "SamplingPlan": "models",
    "Score": "core",
    "Settings": "studies.features.protocol",
    "SnmfStream": "decompose",
    "TokenSelection": "capture",
    "Trajectories": "dynamics",
    "appending_activations": "capture",
    "checkpoints_of": "dynamics",
    "companion": "features",
    "companions": "features",
    "compare": "studies.comparison",
    "describe": "features",
    "evaluate_steering": "steering",
    "fit_difference_in_means": "decompose",
    "fit_hierarchy": "decompose",
    "fit_offline_judge": "steering",
    "fit_pca": "decompose",
    "fit_sae": "decompose",
    "fit_snmf": "decompose",
    "intervene": "capture",
    "likelihood_lift": "steering",
    "load_activations": "capture",
    "load_concepts": "corpus",
    "load_dictionary": "decompose",
    "load_model": "models",
    "load_public_sae": "decompose",
    "loss_recovered": "features",
    "main_job": "commands.report",
    "open_activations": "capture",
    "path_effects": "causal",
    "random_dictionary": "decompose",
    "record": "capture",
    "save_activations": "capture",
    "show": "features",
    "sparse_probing": "detection",
    "stability": "decompose",
    "steer": "steering",
    "sweep_sae": "decompose",
    "trace_task": "studies.paths",
    "track": "dynamics",
    "wrap": "models",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Public names are imported at first use, so that importing the package does no work."""
    if name not in _HOMES:
        import difflib

        close = difflib.get_close_matches(name, __all__, n=3) or __all__
        raise AttributeError(
            f"module 'interp' has no attribute {name!r}; "
            f"{'nearest' if close is not __all__ else 'public names'}: {', '.join(close)}"
        )
    return getattr(importlib.import_module(f"interp.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
