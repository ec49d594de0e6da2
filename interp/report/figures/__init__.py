"""Figures of the pages and of notebooks."""
