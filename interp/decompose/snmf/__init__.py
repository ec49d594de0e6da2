"""Semi-NMF: alternation, its non-negative least squares, and the streaming fit."""
