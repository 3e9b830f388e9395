"""The rolling cache of one sequence in half precision, over layers that may differ."""

import mmap
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from pi_cluster.kernels.errors import ShapeError
from pi_cluster.kernels.library import HeadsStruct
from pi_cluster.kernels.shape import LayerShape
from pi_cluster.kernels.tiles import whole_tiles

Halves = NDArray[np.uint16]


class KVCache:
    """Keys and values of one sequence, at each layer for its last ``capacity`` positions.

    Position ``p`` lives in slot ``p % capacity`` of a layer, one layer after the other. The memory,
    the sum of ``cache_bytes_per_layer``, is reserved at once; the system provides a page of it when
    the text first reaches it, and takes it back when the text is shortened.
    """

    def __init__(self, shapes: Sequence[LayerShape]) -> None:
        assert shapes, "a cache of no layers"
        self.shapes = tuple(shapes)
        self._length = 0
        # By capacity: positions before it have been overwritten.
        self._intact_from = {shape.capacity: 0 for shape in shapes}
        self._kinds = tuple({(shape.window, shape.capacity) for shape in shapes})
        self._offsets = (0, *accumulate(shape.cache_bytes_per_layer for shape in shapes))
        # A mapping of its own, not a numpy allocation, which would ask for huge pages.
        self._mapping = mmap.mmap(-1, self._offsets[-1])
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
        return sum(
            shape.cache_bytes_per_layer * _slots(self._length, shape) // shape.capacity
            for shape in self.shapes
        )

    def heads(self, layer: int) -> HeadsStruct:
        """How a layer attends, as C sees it."""
        return self.shapes[layer].heads(self._offsets[layer])

    def check_room(self, rows: int) -> None:
        """Raise ``ShapeError`` if the next ``rows`` positions would evict what they must see."""
        reached = self._length + rows
        for window, capacity in self._kinds:
            if reached <= capacity:
                continue
            if window is None:
                raise ShapeError(f"{reached} positions in a cache of {capacity}")
            needed = window + rows - 1
            if needed > capacity:
                raise ShapeError(
                    f"{rows} rows with a window of {window} need {needed} slots, and the "
                    f"cache has {capacity}"
                )

    def advance(self, rows: int) -> None:
        """Count the next ``rows`` positions, which have been stored."""
        self._length += rows
        for capacity, intact_from in self._intact_from.items():
            self._intact_from[capacity] = max(intact_from, self._length - capacity)

    def can_truncate(self, length: int) -> bool:
        """Whether all that position ``length`` sees is still stored, were it the next one."""
        return 0 <= length <= self._length and self._overwritten(length) is None

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on, as after rejected guesses.

        Raises ``ShapeError`` if positions that must then be seen again have been overwritten.
        """
        self._check_truncate(length)
        before = self._length
        self._shorten(length)
        for layer, shape in enumerate(self.shapes):
            used, wanted = _slots(before, shape), _slots(length, shape)
            if wanted < used:
                self._release(layer, wanted, used)

    def fork(self, length: int) -> "KVCache":
        """A cache of another sequence that begins with the first ``length`` positions.

        Raises ``ShapeError`` as :meth:`truncate` does.
        """
        self._check_truncate(length)
        fork = KVCache(self.shapes)
        for layer, shape in enumerate(self.shapes):
            slots = _slots(length, shape)
            for mine, theirs in zip(self._halves(layer), fork._halves(layer), strict=True):
                # Only these pages are provided; the rest stay reserved.
                theirs[:, :slots] = mine[:, :slots]
        fork._length, fork._intact_from = self._length, self._intact_from.copy()
        fork._shorten(length)
        return fork

    def _shorten(self, length: int) -> None:
        self._length = length
        for capacity, intact_from in self._intact_from.items():
            self._intact_from[capacity] = min(intact_from, length)

    def _overwritten(self, length: int) -> int | None:
        """Before which position something that position ``length`` sees is gone; None if none."""
        for window, capacity in self._kinds:
            oldest = max(0, length - window + 1) if window else 0
            if oldest < min(self._intact_from[capacity], length):
                return self._intact_from[capacity]
        return None

    def _check_truncate(self, length: int) -> None:
        if not 0 <= length <= self._length:
            raise ShapeError(f"cannot shorten {self._length} positions to {length}")
        if (gone := self._overwritten(length)) is not None:
            raise ShapeError(
                f"cannot shorten {self._length} positions to {length}: what position {length} "
                f"sees before {gone} has been overwritten"
            )

    def _halves(self, layer: int) -> tuple[Halves, Halves]:
        """A layer's keys, and its values. Shapes: ``(n_kv_heads, capacity, width)``.

        To be cut at whole tiles only: within one, keys lie entry by entry (``src/cache.h``).
        """
        shape = self.shapes[layer]
        part = self._memory[self._offsets[layer] : self._offsets[layer + 1]].view(np.uint16)
        keys = shape.n_kv_heads * shape.capacity * shape.head_dim
        sides = shape.n_kv_heads, shape.capacity, -1
        return part[:keys].reshape(sides), part[keys:].reshape(sides)

    def _release(self, layer: int, start: int, stop: int) -> None:
        """Give the pages of a layer's slots ``start:stop`` back to the system."""
        for part in self._halves(layer):
            for head in part:
                first = head.ctypes.data - self.address
                slot_bytes = head.strides[0]
                # Pages at the edges also hold what lies beside: those stay.
                begin = -(-(first + start * slot_bytes) // mmap.PAGESIZE) * mmap.PAGESIZE
                end = (first + stop * slot_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
                if begin < end:
                    self._mapping.madvise(mmap.MADV_REMOVE, begin, end - begin)


def _slots(length: int, shape: LayerShape) -> int:
    """Slots of the tiles that a text of ``length`` positions has reached."""
    return min(whole_tiles(length), shape.capacity)
