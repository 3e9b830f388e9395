"""The tiles of a cache: whole ones are read, held and given back."""

KEY_TILE = 64
"""Positions per tile. Attention reads whole tiles, aligned to positions, so that a key meets a
query in the same product however the text was cut into chunks. As in ``src/variant.h``."""


def whole_tiles(positions: int, tile: int = KEY_TILE) -> int:
    """Positions, rounded up to whole tiles."""
    return -(-positions // tile) * tile
