"""Data that ships with the package; see README.md for what it is and its licence."""
