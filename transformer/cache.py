"""The rolling buffer cache: keys and values of a sequence's last positions, in bounded memory.

Source: arXiv:2310.06825, section 2 ("Rolling buffer cache"), with room for a whole step added.
"""

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np

from pi_cluster.kernels import KEY_TILE, whole_tiles
from pi_cluster.transformer.arithmetic import Array
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.limits import Limits


def cache_capacity(window: int | None, context: int, max_step_rows: int) -> int:
    """Slots that a sequence needs at one layer at most, a multiple of ``KEY_TILE``.

    With a window: its positions and those of the largest step, whose first query still sees what
    its last one evicts. Without: every position of the context.
    """
    slots = context if window is None else window + max_step_rows
    return whole_tiles(slots)


@dataclass(frozen=True, slots=True)
class CacheRoom:
    """The slots of a sequence at one layer, and how many positions a query sees there."""

    window: int | None
    capacity: int


def cache_rooms(config: ModelConfig, limits: Limits) -> tuple[CacheRoom, ...]:
    """The room of each layer.

    If one layer sees every position, texts end with the context. No layer then needs more slots
    than the context has, and a window as wide as the context hides nothing.
    """
    rows, windows = limits.max_step_rows, [layer.window for layer in config.layers]
    rooms = [CacheRoom(w, cache_capacity(w, limits.context, rows)) for w in windows]
    if config.widest_window is not None:
        return tuple(rooms)
    most = cache_capacity(None, limits.context, rows)
    return tuple(
        CacheRoom(None, most)
        if room.window is None or room.window >= limits.context
        else CacheRoom(room.window, min(room.capacity, most))
        for room in rooms
    )


def largest_capacity(config: ModelConfig, limits: Limits) -> int:
    """Slots of a sequence at the layer that has the most: what a text is counted by."""
    return cache_capacity(config.widest_window, limits.context, limits.max_step_rows)


def reached_slots(length: int, capacity: int) -> int:
    """Slots that a text of ``length`` positions takes: whole tiles, at most ``capacity``."""
    return min(whole_tiles(length), capacity)


class RollingKVCache:
    """Keys and values of one sequence at one layer, for its last ``capacity`` positions.

    Position ``p`` lives in slot ``p % capacity``. With ``capacity=4``, after six positions::

        slot       0  1  2  3
        position   4  5  2  3

    The buffer grows with the text, a doubling at a time, and never past
    ``2 * capacity * n_kv_heads * head_dim * 4`` bytes however long the text becomes.
    """

    def __init__(
        self,
        n_kv_heads: int,
        head_dim: int,
        capacity: int,
        tile: int = KEY_TILE,
        window: int | None = None,
    ) -> None:
        assert capacity % tile == 0, "a tile must not wrap around the end of the buffer"
        self.capacity = capacity
        self.tile_size = tile
        self.window = window
        self.length = 0
        self._intact_from = 0  # positions before it have been overwritten
        self._keys = np.zeros((n_kv_heads, 0, head_dim), np.float32)
        self._values = np.zeros_like(self._keys)

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        return self._keys.nbytes + self._values.nbytes

    def append(self, keys: Array, values: Array) -> None:
        """Store the next positions. Shapes: both ``(rows, n_kv_heads, head_dim)``."""
        assert len(keys) <= self.capacity, "a step larger than the buffer would evict itself"
        self._grow(self.length + len(keys))
        slots = np.arange(self.length, self.length + len(keys)) % self.capacity
        self._keys[:, slots] = keys.swapaxes(0, 1)
        self._values[:, slots] = values.swapaxes(0, 1)
        self.length += len(keys)
        self._intact_from = max(self._intact_from, self.length - self.capacity)

    def can_truncate(self, length: int) -> bool:
        """Whether all that position ``length`` sees is still stored, were it the next one."""
        oldest = max(0, length - self.window + 1) if self.window else 0
        return 0 <= length <= self.length and oldest >= min(self._intact_from, length)

    def truncate(self, length: int) -> None:
        """Forget the positions from ``length`` on, as after rejected guesses."""
        assert self.can_truncate(length), "what must then be seen has been overwritten"
        self.length, self._intact_from = length, min(self._intact_from, length)

    def fork(self, length: int) -> Self:
        """A cache of another sequence that begins with the first ``length`` positions."""
        fork = copy.copy(self)
        slots = whole_tiles(length, self.tile_size)
        fork._keys, fork._values = self._keys[:, :slots].copy(), self._values[:, :slots].copy()
        fork.truncate(length)
        return fork

    def tile(self, index: int) -> tuple[Array, Array]:
        """Keys and values of positions ``index * tile_size`` up to the next tile, without a copy.

        Shapes: both ``(n_kv_heads, tile_size, head_dim)``. A slot that its position has not
        reached, or has left, holds something else: the caller masks it.
        """
        start = index * self.tile_size % self.capacity
        span = slice(start, start + self.tile_size)
        return self._keys[:, span], self._values[:, span]

    def _grow(self, length: int) -> None:
        held = self._keys.shape[1]
        needed = min(whole_tiles(length, self.tile_size), self.capacity)
        if needed <= held:
            return
        slots = min(max(needed, 2 * held), self.capacity)
        # No position has wrapped yet: the buffer only wraps once it has its full capacity.
        self._keys = _widen(self._keys, slots)
        self._values = _widen(self._values, slots)


def _widen(buffer: Array, slots: int) -> Array:
    wide = np.zeros((buffer.shape[0], slots, buffer.shape[2]), np.float32)
    wide[:, : buffer.shape[1]] = buffer
    return wide
