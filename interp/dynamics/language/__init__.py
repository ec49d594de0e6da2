"""A language model's concepts and features over its checkpoints."""
