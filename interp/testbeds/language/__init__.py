"""A tiny GPT-2 and what it is trained on, checkpoint by checkpoint."""

from interp.testbeds.language.training import TinyLanguageSettings, train_tiny_language

__all__ = ["TinyLanguageSettings", "train_tiny_language"]
