"""Whole jobs: each has a protocol, a run (the stages in order) and a frozen result."""
