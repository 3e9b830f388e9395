"""The pipeline that is up, for programs with an event loop, which is never made to wait."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Self, TypeVar, Unpack

from pi_cluster.cluster import settings
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.asking.async_stream import AsyncAnswerStream
from pi_cluster.coordinator.asking.embedding import (
    AT_ONCE,
    Embedded,
    embedded,
    vector_keywords,
)
from pi_cluster.coordinator.asking.question import AskKeywords, Prompt
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.patience import DEFAULT_WAIT_S
from pi_cluster.coordinator.pipeline.status import PipelineStatus
from pi_cluster.coordinator.pooling import Pooling

T = TypeVar("T")

# Opening a session, reading a tokenizer. Questions that wait their turn take up none of them.
_THREADS = 4


class AsyncPipelineClient:
    """A :class:`PipelineClient` whose answers are awaited; ``async with`` opens and closes it.

    Any number of tasks may ask at once. A task that is cancelled ends its question.
    """

    def __init__(self, open_client: Callable[[], PipelineClient], closes: bool = True) -> None:
        """``open_client`` is called by ``async with``, which at its end ``closes`` the client."""
        self._open = open_client
        self._closes = closes
        self._pool: Executor | None = ThreadPoolExecutor(_THREADS, "pipeline-client")
        self._client: PipelineClient | None = None

    @classmethod
    def connect(
        cls,
        cluster: str = settings.DEFAULT_CLUSTER,
        *,
        wait_s: float = DEFAULT_WAIT_S,
        heal_timeout_s: float = settings.HEAL_TIMEOUT_S,
        give_up_after_s: float = settings.GIVE_UP_AFTER_S,
        on_notice: Callable[[str], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Self:
        """As :meth:`PipelineClient.connect`, which is called when ``async with`` begins."""
        connect = partial(
            PipelineClient.connect,
            cluster,
            wait_s=wait_s,
            heal_timeout_s=heal_timeout_s,
            give_up_after_s=give_up_after_s,
        )
        return cls(partial(connect, on_notice=on_notice, on_warning=on_warning))

    @classmethod
    def over(cls, client: PipelineClient) -> Self:
        """The tasks' share of a client that threads use too. It stays open."""
        return cls(lambda: client, closes=False)

    async def ask(self, prompt: Prompt, **keywords: Unpack[AskKeywords]) -> Answer:
        """As :meth:`PipelineClient.ask`."""
        stream = self.stream(prompt, **keywords)
        async with stream:
            async for _ in stream:
                pass
        return stream.answer

    async def embed(
        self,
        texts: Sequence[str | Sequence[int]],
        *,
        pooling: Pooling | str = Pooling.LAST,
        dimensions: int | None = None,
        truncate: bool = False,
    ) -> Embedded:
        """As :meth:`PipelineClient.embed`."""
        keywords = vector_keywords(pooling, truncate=truncate)
        places = asyncio.Semaphore(AT_ONCE)

        async def ask(text: str | Sequence[int]) -> Answer:
            async with places:
                return await self.ask(text, **keywords)

        asked = [asyncio.create_task(ask(text)) for text in texts]
        try:
            return embedded(await asyncio.gather(*asked), dimensions)
        finally:
            for task in asked:
                task.cancel()

    def stream(self, prompt: Prompt, **keywords: Unpack[AskKeywords]) -> AsyncAnswerStream:
        """As :meth:`PipelineClient.stream`, but it is asked, and raises, when it is iterated."""
        client = self._opened

        def make() -> Asked:
            return client.prepare(client.question(prompt, **keywords))

        return AsyncAnswerStream(make, self._off_loop)

    async def status(self) -> PipelineStatus:
        """As :meth:`PipelineClient.status`."""
        return await self._off_loop(self._opened.status)

    async def close(self) -> None:
        """As :meth:`PipelineClient.close`."""
        client, self._client = self._client, None
        try:
            if client and self._closes:
                # A task that is cancelled here waits no longer, and the pipeline is freed all the
                # same, even where no thread is free for it yet.
                closing = asyncio.get_running_loop().run_in_executor(self._pool, client.close)
                await asyncio.shield(closing)
        finally:
            pool, self._pool = self._pool, None
            if pool:
                pool.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        self._client = await self._off_loop(self._open)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    @property
    def _opened(self) -> PipelineClient:
        if self._client is None:
            raise RuntimeError("the client is not open: use it within `async with`")
        return self._client

    async def _off_loop(self, function: Callable[[], T]) -> T:
        # Without a pool of ours, it is the loop's: a question that runs on learns of the end there.
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)
