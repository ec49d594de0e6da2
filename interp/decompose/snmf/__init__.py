"""snmf."""
