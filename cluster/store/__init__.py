"""A checkpoint on disk, cut into one file a layer, and what vouches for it."""
