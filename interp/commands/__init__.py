"""The command line: a command parses, calls one study, and writes one page."""
