"""Recording activations, changing them while a model runs, and keeping them on disk."""

from interp.capture.intervene import (
    EVERYWHERE,
    Add,
    Intervention,
    ProjectOut,
    Replace,
    Where,
    intervene,
)
from interp.capture.recording import record
from interp.capture.selection import TokenSelection
from interp.capture.store import (
    appending_activations,
    load_activations,
    open_activations,
    save_activations,
)
from interp.models.protocol import Batch, Call, Hook, Model, Prepared

__all__ = [
    "EVERYWHERE",
    "Add",
    "Batch",
    "Call",
    "Hook",
    "Intervention",
    "Model",
    "Prepared",
    "ProjectOut",
    "Replace",
    "TokenSelection",
    "Where",
    "appending_activations",
    "intervene",
    "load_activations",
    "open_activations",
    "record",
    "save_activations",
]
