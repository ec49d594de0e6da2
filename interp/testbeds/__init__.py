"""testbeds."""
