"""The door into networks: adapters and where weights come from."""

from interp.models.catalog import CATALOG, DEFAULT_MODEL
from interp.models.decoding import Sampling
from interp.models.encoder import SentenceEncoder
from interp.models.loading import load_encoder, load_model, wrap
from interp.models.module import ModuleModel
from interp.models.protocol import Batch, Call, Hook, Model, Prepared
from interp.models.transformer import TransformerModel
from interp.models.unet import NoisedImages, SamplingPlan, UNetModel

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
