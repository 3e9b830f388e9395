"""Answers on their way out, with a watch on whoever reads them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Protocol

from starlette.types import Receive, Scope, Send

from pi_cluster.server.asking.reply import Event, Reply

HEARTBEAT_S = 10.0  # proxies and clients give up at 60 s and more of silence


class Framing(Protocol):
    """How one API writes a stream of events. Each method gives bytes, perhaps none."""

    media_type: str

    def opening(self) -> bytes:
        """What is sent before the request waits for its turn."""
        ...

    def event(self, event: Event) -> bytes:
        """An answer has grown, or is complete."""
        ...

    def silence(self) -> bytes:
        """What shows after `HEARTBEAT_S` without news that somebody is there."""
        ...

    def failure(self, error: Exception) -> bytes:
        """The answers ended early; nothing follows."""
        ...

    def closing(self) -> bytes:
        """All answers are complete; nothing follows."""
        ...


class StreamedAnswer:
    """An ASGI response: events as they come. A client that leaves cancels what it asked."""

    def __init__(self, reply: Reply, framing: Framing) -> None:
        self._reply = reply
        self._framing = framing

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", self._framing.media_type.encode()),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, leaving):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await writing

    async def _write(self, send: Send) -> None:
        async for part in self._parts():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _parts(self) -> AsyncIterator[bytes]:
        framing = self._framing
        yield framing.opening()
        try:
            async for event in self._reply:
                if part := framing.event(event):
                    yield part
        except Exception as error:
            yield framing.failure(error)
        else:
            yield framing.closing()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
