"""Many texts through one pipeline at once."""
