"""Finding nodes, and finding those again that have moved."""
