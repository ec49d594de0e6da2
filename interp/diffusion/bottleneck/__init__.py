"""bottleneck."""
