"""The configurations of model families, as their checkpoints state them."""
