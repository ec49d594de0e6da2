"""Interpretability of neural networks: features found, described, and scored."""
