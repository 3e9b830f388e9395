"""What the caches of every stage have room for, by the rules of the stages."""

from dataclasses import dataclass
from typing import Self

from pi_cluster.transformer.cache import (
    CacheRoom,
    cache_rooms,
    largest_capacity,
    reached_slots,
)
from pi_cluster.transformer.config import ModelConfig
from pi_cluster.transformer.errors import PromptTooLong
from pi_cluster.transformer.limits import Limits


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """Those of a pipeline; see ``transformer.limits.Limits``.

    ``capacity`` is that of the layer that has the most. ``rolling`` are the layers, those alike
    once, whose caches texts wrap around.
    """

    max_sequences: int
    cache_positions: int
    capacity: int
    rolling: tuple[CacheRoom, ...]
    max_step_rows: int

    @classmethod
    def of(cls, config: ModelConfig, limits: Limits) -> Self:
        """Those of a pipeline that was loaded with ``limits``."""
        capacity = largest_capacity(config, limits)
        # Without a window somewhere, no text is longer than that: what is as large never wraps.
        never = config.widest_window is None
        return cls(
            limits.max_sequences,
            limits.cache_positions,
            capacity,
            tuple(
                room
                for room in dict.fromkeys(cache_rooms(config, limits))
                if not (never and room.capacity == capacity)
            ),
            limits.max_step_rows,
        )

    def tiles(self, positions: int) -> int:
        """Positions that a text of this length takes up."""
        return reached_slots(positions, self.capacity)

    def can_shorten(self, length: int, to: int) -> bool:
        """Whether a cache of ``length`` still holds all that position ``to`` will see."""
        return all(length <= room.capacity or length - to <= _slack(room) for room in self.rolling)

    @property
    def most_guesses(self) -> int:
        """Positions by which every cache can go back; if none wraps, as far as one likes."""
        return min(map(_slack, self.rolling), default=self.capacity)

    def check_room(self, positions: int) -> None:
        """Raise ``PromptTooLong`` for a text that could never be let in, however long it waits."""
        if self.tiles(positions) > self.cache_positions:
            raise PromptTooLong(
                f"the text may take {self.tiles(positions)} positions and the caches have "
                f"{self.cache_positions}: ask for fewer tokens, or bring the pipeline up "
                "with a larger --texts"
            )


def _slack(room: CacheRoom) -> int:
    """Positions that a cache holds beyond those that its layer sees."""
    return room.capacity - (room.window or 0)
