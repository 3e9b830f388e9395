"""The shape of a stage's layers, and the rolling cache of one sequence in half precision."""

import mmap
from dataclasses import dataclass

import numpy as np

from kernels.errors import ShapeError
from kernels.library import ShapeStruct

KEY_TILE = 64
"""Positions a tile; attention reads whole tiles, aligned to positions."""

MAX_HEAD_DIM = 256
_MAX_SIZE = 2**24  # far above any model; keeps every product within 64 bits
_VECTOR = 16


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Sizes that all layers of a model share, and the slots of each cache.

    ``window`` is None where every earlier position is seen. ``capacity`` is a multiple of
    ``KEY_TILE``, at least the window and the largest step together.
    """

    dim: int
    hidden_dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    norm_eps: float
    window: int | None
    capacity: int

    def __post_init__(self) -> None:
        for name in ("dim", "hidden_dim", "n_heads", "n_kv_heads", "head_dim", "capacity"):
            if not 0 < getattr(self, name) <= _MAX_SIZE:
                raise ShapeError(f"{name} is {getattr(self, name)}; it must be 1 to {_MAX_SIZE}")
        if self.n_heads % self.n_kv_heads:
            raise ShapeError(f"{self.n_heads} heads cannot share {self.n_kv_heads} of keys equally")
        if self.head_dim % 2 or self.head_dim > MAX_HEAD_DIM:
            raise ShapeError(f"head_dim is {self.head_dim}; it must be even, up to {MAX_HEAD_DIM}")
        if self.capacity % KEY_TILE:
            raise ShapeError(f"capacity is {self.capacity}, not a multiple of {KEY_TILE}")
        if self.window is not None and not 0 < self.window <= self.capacity:
            raise ShapeError(f"window is {self.window}; it must be 1 to {self.capacity}")

    @property
    def cache_bytes_per_layer(self) -> int:
        """Bytes of one sequence's full-grown cache at one layer."""
        padded = -(-self.head_dim // _VECTOR) * _VECTOR
        return 2 * self.n_kv_heads * self.capacity * (self.head_dim + padded)

    def struct(self) -> ShapeStruct:
        """As C sees it."""
        return ShapeStruct(
            window=self.window or 0,
            capacity=self.capacity,
            dim=self.dim,
            hidden_dim=self.hidden_dim,
            n_heads=self.n_heads,
            n_kv_heads=self.n_kv_heads,
            head_dim=self.head_dim,
            norm_eps=self.norm_eps,
        )


class KVCache:
    """Keys and values of one sequence at some layers, for its last ``capacity`` positions.

    Position ``p`` lives in slot ``p % capacity``. The memory, ``layers *
    shape.cache_bytes_per_layer`` bytes, is reserved at once; the system provides a page of it when
    the text first reaches it.
    """

    def __init__(self, shape: LayerShape, layers: int) -> None:
        assert layers > 0, "a cache of no layers"
        self.shape = shape
        self.layers = layers
        self.length = 0
        # A mapping of its own, not a numpy allocation, which would ask for huge pages.
        memory = mmap.mmap(-1, layers * shape.cache_bytes_per_layer)
        self._memory = np.frombuffer(memory, np.uint8)

    @property
    def address(self) -> int:
        """Where it begins; this object must outlive its use."""
        return self._memory.ctypes.data

    @property
    def size_bytes(self) -> int:
        """Bytes held: those of the tiles that the text has reached."""
        reached = min(-(-self.length // KEY_TILE) * KEY_TILE, self.shape.capacity)
        return self._memory.nbytes * reached // self.shape.capacity

    def check_room(self, rows: int) -> None:
        """Raise ``ShapeError`` if the next ``rows`` positions would evict what they must see."""
        shape = self.shape
        if shape.window is None and self.length + rows > shape.capacity:
            raise ShapeError(f"{self.length + rows} positions in a cache of {shape.capacity}")
        if shape.window is not None and self.length + rows > shape.capacity:
            needed = shape.window + rows - 1
            if needed > shape.capacity:
                raise ShapeError(
                    f"{rows} rows with a window of {shape.window} need {needed} slots, and the "
                    f"cache has {shape.capacity}"
                )

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on, as after rejected guesses.

        Raises ``ShapeError`` if positions that must then be seen again have been overwritten.
        """
        if not 0 <= length <= self.length:
            raise ShapeError(f"cannot shorten {self.length} positions to {length}")
        window = self.shape.window
        oldest = max(0, length - window + 1) if window else 0
        if self.length - self.shape.capacity > oldest:
            raise ShapeError(f"position {oldest} has been overwritten")
        self.length = length
