"""Models that this user has: pulled from a hub by name, or lying anywhere as people bring them."""
