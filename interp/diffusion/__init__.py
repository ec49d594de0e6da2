"""Generators whose images have known factors: trained, sampled, recorded over their steps, and asked what goes through their bottleneck."""

from interp.diffusion.factors import Reader, factor_table, read_strokes
from interp.diffusion.gate import FactorGate, Gate, sanity_gate
from interp.diffusion.interchange import Interchange, Transfer, interchange
from interp.diffusion.labels import Labels, labelled
from interp.diffusion.network import GeneratorSettings, load_generator
from interp.diffusion.sampling import image_seeds, sample, timesteps, unclipped
from interp.diffusion.sheets import sheet, write_png
from interp.diffusion.training import train_generator, training_curve
from interp.diffusion.windows import StepActivations, record_sites, record_steps
from interp.models.skips import remove_skips, removed_skips

__all__ = [
    "FactorGate",
    "Gate",
    "GeneratorSettings",
    "Interchange",
    "Labels",
    "Reader",
    "StepActivations",
    "Transfer",
    "factor_table",
    "image_seeds",
    "interchange",
    "labelled",
    "load_generator",
    "read_strokes",
    "record_sites",
    "record_steps",
    "remove_skips",
    "removed_skips",
    "sample",
    "sanity_gate",
    "sheet",
    "timesteps",
    "train_generator",
    "training_curve",
    "unclipped",
    "write_png",
]
