"""A report served on this machine with the model behind it."""
