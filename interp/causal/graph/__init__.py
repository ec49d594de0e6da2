"""The graph of edges and their effects: choosing edges, exporting, drawing."""
