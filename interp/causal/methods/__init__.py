"""Ways to measure or estimate the effect of every edge, one a file."""
