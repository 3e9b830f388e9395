"""A draft model on this machine: which fits, how fast it is here, and how it computes."""
