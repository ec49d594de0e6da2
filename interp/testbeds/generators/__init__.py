"""Small image generators: settings, training, loading."""

from interp.testbeds.generators.network import GeneratorSettings, load_generator
from interp.testbeds.generators.training import train_generator
from interp.testbeds.training import training_curve

__all__ = ["GeneratorSettings", "load_generator", "train_generator", "training_curve"]
