"""Many who use the pipeline at once, and now and then one who wants it alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Crowd:
    """Lets many in at once, or one alone; for tasks of one event loop.

    Who wants to be alone waits for those that are in, and nobody else comes in meanwhile. Of
    several who do, one after the other is.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()  # of those who want to be alone
        self._open, self._empty = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._empty.set()
        self._inside = 0

    @asynccontextmanager
    async def among(self) -> AsyncIterator[None]:
        """Be one of many, as soon as nobody is alone or waits for that."""
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be the only one, as soon as those that are in have left."""
        async with self._turn:
            self._open.clear()
            try:
                await self._empty.wait()
                yield
            finally:
                self._open.set()
