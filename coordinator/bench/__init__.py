"""How fast a pipeline is, and where the time goes."""
