"""Images with known factors: shapes, a pendulum with its shadow, and files of others."""
