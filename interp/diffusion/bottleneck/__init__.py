"""What goes through a site of a generator: exchanged, clamped, read off, written."""
