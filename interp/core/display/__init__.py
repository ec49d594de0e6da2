"""Markup and small drawings for the displays of results."""
