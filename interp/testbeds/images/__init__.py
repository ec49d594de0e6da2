"""Images with known factors: shapes, a pendulum with its shadow, and labelled image files."""
