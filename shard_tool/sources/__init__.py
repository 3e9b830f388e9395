"""Checkpoints as others publish them, checked and read tensor by tensor."""
