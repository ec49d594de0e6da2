"""What goes through a site of a generator: interchanged, clamped, read and written."""
