"""Methods that find directions at a site of a generator, and directions as such."""
