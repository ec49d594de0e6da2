"""Networks and data that the package trains and makes itself, so that the answers are known."""
