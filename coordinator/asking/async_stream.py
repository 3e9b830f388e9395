"""An answer in pieces, as they come, for a task of an event loop."""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, Self, TypeVar

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Asked, Piece

T = TypeVar("T")


class OffLoop(Protocol):
    """Calls a function that may take long on another thread."""

    def __call__(self, function: Callable[[], T], /) -> Coroutine[Any, Any, T]: ...


class AsyncAnswerStream:
    """Iterate over it, once, for pieces of text; `answer` then has it all.

    It is asked when the iteration begins. Leaving the loop early, cancelling its task and the end
    of an ``async with`` block end it.
    """

    def __init__(self, make: Callable[[], Asked], off_loop: OffLoop) -> None:
        """``make`` encodes the question, which may take long."""
        self._make = make
        self._off_loop = off_loop
        self._asked: Asked | None = None
        self._is_cancelled = False

    @property
    def answer(self) -> Answer:
        """What came of it, once it has ended. Raises the failure if there was one."""
        if self._asked is None:
            raise RuntimeError("it has not been asked: iterate over it")
        return self._asked.answer

    def cancel(self) -> None:
        """End it: whoever iterates gets what has come until then."""
        self._is_cancelled = True
        if self._asked:
            self._asked.cancel()

    def close(self) -> None:
        """End it with what was given so far."""
        self.cancel()
        if self._asked:
            self._asked.close()

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            self._asked = asked = await self._off_loop(self._make)
            if self._is_cancelled:
                asked.cancel()
            has_news = asyncio.Event()
            asked.on_news = _waking(asked, has_news)
            await self._ask(asked)
            while not asked.has_ended:
                await has_news.wait()
                has_news.clear()
                while not asked.has_ended and (piece := await self._next(asked)) is not None:
                    if piece.text:
                        yield piece.text
        finally:
            self.close()
            if self._asked:
                self._asked.on_news = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.close()

    async def _next(self, asked: Asked) -> Piece | None:
        """The next piece, maybe an empty one; None when nothing has come."""
        try:
            return asked.take(asked.news.get_nowait())
        except queue.Empty:
            return None
        except ClusterError as error:
            await self._ask(asked, error)
            return Piece()

    async def _ask(self, asked: Asked, error: ClusterError | None = None) -> None:
        steps = asked.ask(error)
        while (pause_s := await self._off_loop(lambda: next(steps, None))) is not None:
            await asyncio.sleep(pause_s)


def _waking(asked: Asked, has_news: asyncio.Event) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(has_news.set)
        except RuntimeError:  # the loop has ended, and nobody reads on
            asked.cancel()

    return wake
