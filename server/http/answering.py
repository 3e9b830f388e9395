"""Answers on their way out, with a watch on whoever reads them."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing, closing, suppress
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from pi_cluster.coordinator.standing import Standing
from pi_cluster.server.asking.gathering import Events, Gathered, gather
from pi_cluster.server.asking.reply import Event, Reply
from pi_cluster.server.http.failures import refusal_of
from pi_cluster.server.http.faults import log_fault
from pi_cluster.server.http.refusal import Refusal

HEARTBEAT_S = 10.0  # proxies and clients give up at 60 s and more of silence
PROGRESS_S = 1.0  # for who shows it to a person
_AT_ONCE_S = 0.1  # by then it is known whether there is anything to wait for
PATIENT_S = 20.0  # so long a whole answer can still be refused by its status


class Framing(Protocol):
    """How one API writes a stream of events. Each method gives bytes, perhaps none."""

    media_type: str

    def opening(self) -> bytes:
        """What is sent before the request waits for its turn."""
        ...

    def event(self, event: Event) -> bytes:
        """An answer has grown, or is complete."""
        ...

    def silence(self, standing: Standing | None) -> bytes:
        """What shows after `HEARTBEAT_S` without news that somebody is there, and waits so."""
        ...

    def failure(self, error: Exception) -> bytes:
        """The answers ended early; nothing follows."""
        ...

    def closing(self) -> bytes:
        """All answers are complete; nothing follows."""
        ...


class WholeForm(Protocol):
    """How one API writes answers that are sent when all of them are complete, as JSON."""

    def whole(self, answers: Sequence[Gathered]) -> bytes:
        """The answers to one request, in the order of their choices."""
        ...

    def refused(self, refusal: Refusal) -> bytes:
        """What is sent instead of them."""
        ...


class StreamedAnswer:
    """An ASGI response: events as they come. A client that leaves cancels what it asked.

    What the request waits for is told every `HEARTBEAT_S`; at once and then every `PROGRESS_S` to
    a client that says ``x-progress: 1``.
    """

    def __init__(self, reply: Reply, framing: Framing, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._reply = reply
        self._framing = framing
        self._heartbeat_s = heartbeat_s
        self._shows_progress = False
        self._last_sent_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._shows_progress = (b"x-progress", b"1") in scope["headers"]
        with closing(self._reply):
            await send(_start(self._framing.media_type))
            await _while_read(self._write(send), receive)

    async def _write(self, send: Send) -> None:
        framing = self._framing
        loop = asyncio.get_running_loop()
        await self._send(send, framing.opening())
        beating = loop.create_task(self._beat(send))
        try:
            # Closed by name: what was asked is to end with this task, not when it is collected.
            async with aclosing(aiter(self._reply)) as events:
                async for event in events:
                    if part := framing.event(event):
                        self._last_sent_s = loop.time()
                        await send({"type": "http.response.body", "body": part, "more_body": True})
            end = framing.closing()
        except Exception as error:
            log_fault(error)
            end = framing.failure(error)
        finally:
            beating.cancel()
        await send({"type": "http.response.body", "body": end, "more_body": False})

    async def _beat(self, send: Send) -> None:
        """Break each long silence, beside whoever writes what comes."""
        loop = asyncio.get_running_loop()
        look_s = PROGRESS_S if self._shows_progress else self._heartbeat_s
        due_s = _AT_ONCE_S if self._shows_progress else look_s
        while True:
            if (left_s := self._last_sent_s + due_s - loop.time()) > 0:
                await asyncio.sleep(left_s)
                continue
            standing = self._reply.standing()
            if standing or due_s >= self._heartbeat_s:
                await self._send(send, self._framing.silence(standing))
                due_s = look_s
            else:
                due_s += look_s

    async def _send(self, send: Send, part: bytes) -> None:
        self._last_sent_s = asyncio.get_running_loop().time()
        if part:
            await send({"type": "http.response.body", "body": part, "more_body": True})


class WholeAnswer:
    """An ASGI response: JSON when all is there. A client that leaves cancels what it asked.

    After `PATIENT_S` the status goes out, and an empty line every `HEARTBEAT_S`, which JSON allows
    before a value; what goes wrong then is told by the body alone.
    """

    def __init__(
        self,
        reply: Events,
        form: WholeForm,
        patient_s: float = PATIENT_S,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._reply = reply
        self._form = form
        self._patient_s, self._heartbeat_s = patient_s, heartbeat_s

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with closing(self._reply):
            await _while_read(self._write(send), receive)

    async def _write(self, send: Send) -> None:
        answering = asyncio.create_task(self._answered())
        has_begun = False
        try:
            pause_s = self._patient_s
            while not (await asyncio.wait((answering,), timeout=pause_s))[0]:
                if not has_begun:
                    await send(_start("application/json"))
                    has_begun, pause_s = True, self._heartbeat_s
                await send({"type": "http.response.body", "body": b"\n", "more_body": True})
        finally:
            if not answering.done():
                answering.cancel()
                with suppress(asyncio.CancelledError):
                    await answering
        status, headers, body = answering.result()
        if not has_begun:
            await send(_start("application/json", status, headers, len(body)))
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _answered(self) -> tuple[int, dict[str, str], bytes]:
        try:
            return 200, {}, self._form.whole(await gather(self._reply))
        except Exception as error:
            log_fault(error)
            refusal = refusal_of(error)
            return refusal.status, refusal.headers, self._form.refused(refusal)


def _start(
    media_type: str,
    status: int = 200,
    more: dict[str, str] | None = None,
    length: int | None = None,
) -> dict[str, Any]:
    headers = {"content-type": media_type, "cache-control": "no-cache", **(more or {})}
    headers |= {"x-accel-buffering": "no"} if length is None else {"content-length": str(length)}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


async def _while_read(writing: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Write until all is written, or the client leaves."""
    tasks = asyncio.create_task(writing), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await tasks[0]


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
