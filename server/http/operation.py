"""What a route takes and gives, said where its handler stands, and read by the API's document."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

H = TypeVar("H", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of an API; the types are msgspec's."""

    summary: str
    takes: type | None = None
    gives: type | None = None
    streams: type | None = None
    """What each event of its stream has, where it can stream."""
    stream_type: str = "text/event-stream"
    statuses: tuple[int, ...] = (400,)
    """What it may answer instead, beside what every route may."""


def operation(described: Operation) -> Callable[[H], H]:
    """Say of a handler what it takes and gives."""

    def remember(handler: H) -> H:
        handler.operation = described  # type: ignore[attr-defined]
        return handler

    return remember
