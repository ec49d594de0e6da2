"""Where weights come from: catalog, registry packages, hub, cache; each checked by a hash."""
