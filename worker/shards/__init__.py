"""The shard files on a node's disk, and how they come and go."""
