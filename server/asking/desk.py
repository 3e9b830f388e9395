"""Where all adapters ask: encodes what is asked, off the event loop, and hands out replies."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.asking.question import AskKeywords
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.clients import Clients
from pi_cluster.server.asking.crowd import Crowd
from pi_cluster.server.asking.reply import Reply

_ENCODERS = 2  # templates and tokenising
_OPENERS = 4  # sessions that begin; questions that wait their turn take up none of them


class Desk:
    """Asks one cluster's pipeline for everybody; used by the event loop alone."""

    def __init__(
        self, client: PipelineClient, renew: Callable[[], PipelineClient] | None = None
    ) -> None:
        """The client stays whose it is; ``renew`` makes that of another model which is up since."""
        self._clients = Clients(client, renew or (lambda: client))
        self._crowd = Crowd()
        self._encoding = ThreadPoolExecutor(_ENCODERS, "encoding")
        self._opening = ThreadPoolExecutor(_OPENERS, "opening")

    @property
    def client(self) -> PipelineClient:
        """Asks the model that was up at the last request."""
        return self._clients.now

    async def prepare(self, ask: Ask) -> Reply:
        """Encode and check what is asked; nothing is asked before the reply is iterated.

        Raises ``PromptError`` and ``SettingsError`` for what cannot be asked.
        """
        loop = asyncio.get_running_loop()
        client, asked = await loop.run_in_executor(self._encoding, self._prepared, ask)
        return Reply(asked, self._opening, self._crowd, partial(self._clients.give_back, client))

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Leave the pipeline to another program, until the end of the block.

        Answers under way end first. Requests that come meanwhile are held, and go on behind it.
        """
        loop = asyncio.get_running_loop()
        async with self._crowd.alone():
            await loop.run_in_executor(self._opening, self.client.release)
            yield

    def close(self) -> None:
        """Let the threads end."""
        self._encoding.shutdown(wait=False, cancel_futures=True)
        self._opening.shutdown(wait=False, cancel_futures=True)
        self._clients.close()

    def _prepared(self, ask: Ask) -> tuple[PipelineClient, list[Asked]]:
        client = self._clients.take()
        try:
            first = client.question(ask.prompt, **ask.keywords)
            seed = first.options.sampling.seed
            questions = [first]
            for number in range(1, ask.choices):
                again = AskKeywords(**{**ask.keywords, "seed": (seed + number) % 2**64})
                questions.append(client.question(ask.prompt, **again))
            return client, [client.prepare(question) for question in questions]
        except BaseException:
            self._clients.give_back(client)
            raise
