"""Edits of images: along directions and curves, across boundaries, and from images' own codes."""
