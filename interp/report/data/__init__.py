"""The records behind a page, made from results, and their json."""
