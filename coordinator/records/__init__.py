"""What this machine remembers of a cluster, and how this user may call it."""
