"""Effects of features and of subspaces: interchange, alignment, paths."""
