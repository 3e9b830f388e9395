"""Who takes part in a cluster: nodes let in, grants to ask."""
