"""The door into networks: adapters and where weights come from."""

from interp.models.adapters.decoding import Sampling
from interp.models.adapters.encoder import SentenceEncoder
from interp.models.adapters.module import ModuleModel
from interp.models.adapters.transformer import TransformerModel
from interp.models.adapters.unet import NoisedImages, SamplingPlan, UNetModel
from interp.models.loading import load_encoder, load_model, wrap
from interp.models.protocol import Batch, Call, Hook, Model, Prepared
from interp.models.weights.catalog import CATALOG, DEFAULT_MODEL

__all__ = [
    "CATALOG",
    "DEFAULT_MODEL",
    "Batch",
    "Call",
    "Hook",
    "Model",
    "ModuleModel",
    "NoisedImages",
    "Prepared",
    "Sampling",
    "SamplingPlan",
    "SentenceEncoder",
    "TransformerModel",
    "UNetModel",
    "load_encoder",
    "load_model",
    "wrap",
]
