"""A generator's activations at every sampling step, and both halves of classifier-free guidance."""
