"""Who may call a worker, and the node's own keys and certificates."""
