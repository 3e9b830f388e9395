"""Bodies of requests on their way in: bounded in time, and all of them together in size."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive

from pi_cluster.server.http.failures import retrying
from pi_cluster.server.http.limits import Limits
from pi_cluster.server.http.refusal import Refusal


class Intake:
    """Lets bodies in as long as there is room; a request gives its room back when it has ended."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken_bytes = 0

    @contextmanager
    def of(self, receive: Receive) -> Iterator[Receive]:
        """What an application receives from.

        It raises ``Refusal``: 408 for a body that takes too long, 429 while there is no room.
        """
        own_bytes, is_whole = 0, False
        deadline: float | None = None

        async def taken() -> Message:
            nonlocal own_bytes, is_whole, deadline
            if is_whole:
                return await receive()
            if deadline is None:
                deadline = asyncio.get_running_loop().time() + self._limits.body_s
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Refusal(
                    408,
                    "body_too_slow",
                    f"the request was not there within {self._limits.body_s:g} s: send it faster",
                ) from None
            is_whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            own_bytes += size
            self._taken_bytes += size
            if self._taken_bytes > self._limits.bodies_bytes:
                raise Refusal(
                    *(429, "too_many_bodies", "too many large requests at once: try again"),
                    retrying(5),
                )
            return message

        try:
            yield taken
        finally:
            self._taken_bytes -= own_bytes
