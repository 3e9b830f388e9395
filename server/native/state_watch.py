"""The cluster's state for all who follow it: one look for all of them, and none for nobody."""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from pi_cluster.server.native.state import ClusterState
from pi_cluster.server.native.state_view import StateView

_LOOK_S = 1.0
_LOOKS_AT_REST = 5  # of so many moments, one is looked at while nobody asks and nothing changes


class StateWatch:
    """Follows one view, for tasks of one event loop, while anybody listens."""

    def __init__(self, view: StateView) -> None:
        self._view = view
        self._followers = 0
        self._looking: asyncio.Task[None] | None = None
        self._latest: bytes | None = None
        self._news: asyncio.Future[bytes | None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_ended = False

    async def follow(self) -> AsyncIterator[bytes]:
        """The state as JSON: the last one at once, and each that follows, until the `end`."""
        self._loop = asyncio.get_running_loop()
        self._followers += 1
        try:
            if self._latest:
                yield self._latest
            while not self._has_ended:
                self._begin(self._loop)
                assert self._news is not None, "it has begun"
                state = await asyncio.shield(self._news)
                if state is not None:
                    yield state
        finally:
            self._followers -= 1
            if not self._followers:
                self._stop()

    def end(self, _: None = None) -> None:
        """Let nobody follow any more; any thread may."""
        self._has_ended = True
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._looking is None or self._looking.done():
            self._news = loop.create_future()
            self._looking = loop.create_task(self._look())
            self._looking.add_done_callback(self._has_failed)

    def _stop(self) -> None:
        if self._looking:
            self._looking.cancel()
        if self._news and not self._news.done():
            self._news.set_result(None)
        self._looking = self._latest = None

    def _has_failed(self, looking: asyncio.Task[None]) -> None:
        if looking.cancelled() or not (error := looking.exception()):
            return
        if self._news and not self._news.done():
            self._news.set_exception(error)

    async def _look(self) -> None:
        before: object = None
        while True:
            state = await self._view.now(_LOOK_S / 2)
            self._tell(msgspec.json.encode(state))
            now = _what_matters(state)
            has_changed, before = now != before, now
            for _ in range(_LOOKS_AT_REST):
                await asyncio.sleep(_LOOK_S)
                if has_changed or self._view.count.running or self._view.count.waiting:
                    break

    def _tell(self, state: bytes) -> None:
        told, self._news = self._news, asyncio.get_running_loop().create_future()
        self._latest = state
        if told and not told.done():
            told.set_result(state)


def _what_matters(state: ClusterState) -> tuple[object, ...]:
    """Without figures that are never twice the same."""
    stages = tuple((stage.node, stage.layers, stage.state) for stage in state.stages)
    return state.epoch, state.condition, stages, state.tokens
