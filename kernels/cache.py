"""The shape of a stage's layers, and the rolling cache of one sequence in half precision."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels.errors import ShapeError
from pi_cluster.kernels.library import ShapeStruct
from pi_cluster.kernels.tiles import KEY_TILE, whole_tiles

MAX_HEAD_DIM = 256
_MAX_SIZE = 2**24  # far above any model; keeps every product within 64 bits
_VECTOR = 16

Halves = NDArray[np.uint16]


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
    the text first reaches it, and takes it back when the text is shortened.
    """

    def __init__(self, shape: LayerShape, layers: int) -> None:
        assert layers > 0, "a cache of no layers"
        self.shape = shape
        self.layers = layers
        self._length = 0
        self._intact_from = 0  # positions before it have been overwritten
        # A mapping of its own, not a numpy allocation, which would ask for huge pages.
        self._mapping = mmap.mmap(-1, layers * shape.cache_bytes_per_layer)
        self._memory = np.frombuffer(self._mapping, np.uint8)

    @property
    def length(self) -> int:
        """Positions of the text so far; the last ``capacity`` of them are stored."""
        return self._length

    @property
    def address(self) -> int:
        """Where it begins; this object must outlive its use."""
        return self._memory.ctypes.data

    @property
    def size_bytes(self) -> int:
        """Bytes held: those of the tiles that the text has reached."""
        return self._memory.nbytes * self._slots(self._length) // self.shape.capacity

    def check_room(self, rows: int) -> None:
        """Raise ``ShapeError`` if the next ``rows`` positions would evict what they must see."""
        shape = self.shape
        if shape.window is None and self._length + rows > shape.capacity:
            raise ShapeError(f"{self._length + rows} positions in a cache of {shape.capacity}")
        if shape.window is not None and self._length + rows > shape.capacity:
            needed = shape.window + rows - 1
            if needed > shape.capacity:
                raise ShapeError(
                    f"{rows} rows with a window of {shape.window} need {needed} slots, and the "
                    f"cache has {shape.capacity}"
                )

    def advance(self, rows: int) -> None:
        """Count the next ``rows`` positions, which have been stored."""
        self._length += rows
        self._intact_from = max(self._intact_from, self._length - self.shape.capacity)

    def can_truncate(self, length: int) -> bool:
        """Whether all that position ``length`` sees is still stored, were it the next one."""
        window = self.shape.window
        oldest = max(0, length - window + 1) if window else 0
        return 0 <= length <= self._length and oldest >= min(self._intact_from, length)

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on, as after rejected guesses.

        Raises ``ShapeError`` if positions that must then be seen again have been overwritten.
        """
        self._check_truncate(length)
        used, wanted = self._slots(self._length), self._slots(length)
        self._length, self._intact_from = length, min(self._intact_from, length)
        if wanted < used:
            self._release(wanted, used)

    def fork(self, length: int) -> "KVCache":
        """A cache of another sequence that begins with the first ``length`` positions.

        Raises ``ShapeError`` as :meth:`truncate` does.
        """
        self._check_truncate(length)
        fork, slots = KVCache(self.shape, self.layers), self._slots(length)
        for mine, theirs in zip(self._halves(), fork._halves(), strict=True):
            # Only these pages are provided; the rest stay reserved.
            theirs[:, :, :slots] = mine[:, :, :slots]
        fork._length, fork._intact_from = length, min(self._intact_from, length)
        return fork

    def _check_truncate(self, length: int) -> None:
        if not 0 <= length <= self._length:
            raise ShapeError(f"cannot shorten {self._length} positions to {length}")
        if not self.can_truncate(length):
            raise ShapeError(
                f"cannot shorten {self._length} positions to {length}: what position {length} "
                f"sees before {self._intact_from} has been overwritten"
            )

    def _slots(self, length: int) -> int:
        """Slots of the tiles that a text of ``length`` positions has reached."""
        return min(whole_tiles(length), self.shape.capacity)

    def _halves(self) -> Iterator[Halves]:
        """Keys, then values. Shapes: ``(layers, n_kv_heads, capacity, width)``.

        To be cut at whole tiles only: within one, keys lie entry by entry (``src/cache.h``).
        """
        shape = self.shape
        layers = self._memory.view(np.uint16).reshape(self.layers, -1)
        keys = shape.n_kv_heads * shape.capacity * shape.head_dim
        for part in (layers[:, :keys], layers[:, keys:]):
            yield part.reshape(self.layers, shape.n_kv_heads, shape.capacity, -1)

    def _release(self, start: int, stop: int) -> None:
        """Give the pages of the slots ``start:stop`` back to the system."""
        for part in self._halves():
            for layer in part:
                for head in layer:
                    first = head.ctypes.data - self.address
                    slot_bytes = head.strides[0]
                    # Pages at the edges also hold what lies beside: those stay.
                    begin = -(-(first + start * slot_bytes) // mmap.PAGESIZE) * mmap.PAGESIZE
                    end = (first + stop * slot_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
                    if begin < end:
                        self._mapping.madvise(mmap.MADV_REMOVE, begin, end - begin)
