"""The pipeline for one program alone, as `bench` wants it, while its connection lasts."""

import asyncio
from contextlib import suppress

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.http.local import is_local
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.native.lines import MEDIA_TYPE, line

_HEARTBEAT_S = 1.0


def routes() -> list[BaseRoute]:
    """``exclusive``."""
    return [Route("/cluster/v1/exclusive", _exclusive, methods=["POST"])]


@operation(Operation("Have the pipeline alone", stream_type=MEDIA_TYPE, statuses=(403,)))
async def _exclusive(request: Request) -> ASGIApp:
    """Others are held until the connection closes. The line ``alone`` says that it is free."""
    if not is_local(request.scope):
        raise Refusal(403, "only_local", "only this machine's user can have the pipeline alone")
    return _Exclusive(request.app.state.desk)


class _Exclusive:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        holding = asyncio.create_task(self._hold(send))
        try:
            while (await receive())["type"] != "http.disconnect" and not holding.done():
                pass
        finally:
            holding.cancel()
            with suppress(asyncio.CancelledError):
                await holding

    async def _hold(self, send: Send) -> None:
        beating = asyncio.create_task(_beat(send))
        try:
            async with self._desk.exclusive():
                await _say(send, line(alone=True))
                await beating
        finally:
            beating.cancel()


async def _beat(send: Send) -> None:
    while True:
        await _say(send, line(alive=True))
        await asyncio.sleep(_HEARTBEAT_S)


async def _say(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})
