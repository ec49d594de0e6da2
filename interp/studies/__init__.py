"""Whole jobs: each has a protocol (what is done), a run (the stages, one after the other) and a
frozen result.
"""
