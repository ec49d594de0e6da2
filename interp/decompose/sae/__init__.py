"""Sparse autoencoders: rules, training, and reading other packages' files."""
