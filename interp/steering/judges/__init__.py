"""Judges of texts: offline, or a language model behind an endpoint; each reports its own error."""
