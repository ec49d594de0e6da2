"""Networks and data that the package makes itself, so that the answers are known."""
