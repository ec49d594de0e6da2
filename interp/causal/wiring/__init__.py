"""What an edge is in each kind of network, and how one is replaced."""
