"""Dictionaries for others: the hub, its card, SAELens folders."""
