"""A lost pipeline brought back: what is to be done, decided from what is seen; and the doing."""
