"""The machine that a worker runs on: what it offers, and how it is."""
