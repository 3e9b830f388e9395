"""Nodes that are short of memory or hot while a session lasts: known to it, and told to people."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from pi_cluster.cluster.heat import COOL_AGAIN_C, COOLING, HOT_C
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.protos import pi_cluster_pb2 as pb

_CALM_S = 60.0  # a weak supply has the clock go down and up again with every step


class Strain(Enum):
    """What a node can suffer from."""

    SHORT_OF_MEMORY = 1
    HOT = 2


@dataclass(frozen=True, slots=True)
class StrainNews:
    """A node has begun to suffer from something, or does no more."""

    strain: Strain
    node: str
    node_id: str
    said: str
    """A sentence for people."""
    is_over: bool


class StrainedNodes:
    """Takes what nodes tell with each sign of life. For any number of threads."""

    def __init__(
        self,
        stages: Sequence[StageAddress],
        on_news: Callable[[StrainNews], None],
        on_memory: Callable[[], None],
    ) -> None:
        """``on_memory`` is called whenever a node became short of memory, or is so no more."""
        self._stages = stages
        self._on_news = on_news
        self._on_memory = on_memory
        self._lock = threading.Lock()
        self._since_s: list[dict[Strain, float]] = [{} for _ in stages]
        self._slowed_s: list[float | None] = [None for _ in stages]

    @property
    def short_of_memory(self) -> tuple[str, ...]:
        """Names of the nodes that are short of memory now."""
        return tuple(
            stage.name
            for stage, since_s in zip(self._stages, self._since_s, strict=True)
            if Strain.SHORT_OF_MEMORY in since_s
        )

    def heard(self, index: int, reply: pb.PingReply) -> None:
        """A stage's node has answered."""
        if self._changes(index, Strain.SHORT_OF_MEMORY, reply.short_of_memory, _SHORT):
            self._on_memory()
        limit_c = COOL_AGAIN_C if Strain.HOT in self._since_s[index] else HOT_C
        is_hot = reply.temperature_c >= limit_c or self._is_slowed(index, reply)
        self._changes(index, Strain.HOT, is_hot, _heat(reply))

    def _is_slowed(self, index: int, reply: pb.PingReply) -> bool:
        """Whether the firmware slows a node down, or did so just now."""
        now = time.monotonic()
        if 0 < reply.clock_share < 1:
            self._slowed_s[index] = now
        slowed_s = self._slowed_s[index]
        return slowed_s is not None and now - slowed_s < _CALM_S

    def _changes(self, index: int, strain: Strain, is_so: bool, words: str) -> bool:
        stage, since_s = self._stages[index], self._since_s[index]
        now = time.monotonic()
        with self._lock:
            if is_so == (strain in since_s):
                return False
            began_s = now
            if is_so:
                since_s[strain] = now
            else:
                began_s = since_s.pop(strain)
        said = f"{stage.name} {words}"
        if not is_so:
            said = f"{stage.name} {_OVER[strain]} again, after {now - began_s:.0f} s"
        self._on_news(StrainNews(strain, stage.name, stage.node_id, said, not is_so))
        return True


_SHORT = (
    "is short of memory: texts kept for reuse are let go, and new ones wait until it is over; "
    "other programs there may take it"
)
_OVER = {Strain.SHORT_OF_MEMORY: "has memory to spare", Strain.HOT: "is cool enough"}


def _heat(reply: pb.PingReply) -> str:
    figures = [f"{reply.temperature_c:.0f} °C"] if reply.temperature_c else []
    if 0 < reply.clock_share < 1:
        figures.append(f"at {reply.clock_share:.0%} of its clock")
        return (
            f"is slowed down by its firmware ({', '.join(figures)}), and every answer with it: "
            f"{COOLING}, and the power supply made for the board"
        )
    return f"is hot ({', '.join(figures)}) and will slow down: {COOLING}"
