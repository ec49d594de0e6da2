"""Ways to find directions at a site of a generator, one a file."""
