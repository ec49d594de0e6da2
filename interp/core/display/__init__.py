"""Markup and small drawings that results show themselves with."""
