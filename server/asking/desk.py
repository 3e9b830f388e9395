"""Where all adapters ask: encodes what is asked, off the event loop, and hands out replies."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.listeners import Listeners
from pi_cluster.coordinator.pipeline.status import PipelineStatus
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.clients import Clients
from pi_cluster.server.asking.crowd import Crowd
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.asking.one_off import is_one_off
from pi_cluster.server.asking.prompt_log import PromptLog
from pi_cluster.server.asking.reply import Reply
from pi_cluster.server.asking.visit import current_visit

T = TypeVar("T")

MOST_TOKENS = 1024
"""Tokens of an answer where a request does not say: room for them is set aside."""
_ENCODERS = 2  # templates and tokenising
_OPENERS = 4  # sessions that begin; questions that wait their turn take up none of them


class Desk:
    """Asks one cluster's pipeline for everybody; used by the event loop alone."""

    def __init__(
        self,
        client: PipelineClient,
        renew: Callable[[], PipelineClient] | None = None,
        prompts: PromptLog | None = None,
    ) -> None:
        """The desk closes the client; ``renew`` makes that of another model which is up since.

        What is asked is written down in ``prompts`` if that was wished.
        """
        self._prompts = prompts
        self._clients = Clients(client, renew or (lambda: client))
        self._card = ModelCard.of(client.record, client.model)
        self._crowd = Crowd()
        self.on_stop = Listeners[None]()
        """Are told, on any thread, that nothing is asked any more."""
        self._encoding = ThreadPoolExecutor(_ENCODERS, "encoding")
        self._opening = ThreadPoolExecutor(_OPENERS, "opening")

    @property
    def client(self) -> PipelineClient:
        """Asks the model that is up now."""
        return self._clients.now

    @property
    def card(self) -> ModelCard:
        """Tells of the model that is up now."""
        client = self.client
        if client.digest != self._card.digest:
            self._card = ModelCard.of(client.record, client.model)
        return self._card

    async def prepare(self, *asks: Ask) -> Reply:
        """Encode and check what is asked; nothing is asked before the reply is iterated.

        The reply holds the client until it is closed, which the end of its iteration does too.
        Several asks have one reply, with the choices of the first before those of the next.
        Raises ``PromptError`` and ``SettingsError`` for what cannot be asked, and ``QueueFull``
        while too many wait: a stream that has begun could not be refused by its status.
        """
        visit = current_visit.get()
        asker = visit.asker if visit else ""
        client, asked = await self.encoding(lambda: self._all_prepared(asks, asker))
        return Reply(
            *(asked, self._opening, self._crowd),
            on_answer=self._noting(asks),
            on_end=partial(self._clients.give_back, client),
        )

    def status(self) -> PipelineStatus:
        """How the stages are now. Asks all nodes, on any thread, and takes as long as they do."""
        client = self._clients.take()
        try:
            return client.status()
        finally:
            self._clients.give_back(client)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Leave the pipeline to another program, until the end of the block.

        Answers under way end first. Requests that come meanwhile are held, and go on behind it.
        """
        loop = asyncio.get_running_loop()
        async with self._crowd.alone():
            await loop.run_in_executor(self._opening, self.client.release)
            yield

    async def encoding(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done beside the loop as all that reads or writes text is."""
        return await asyncio.get_running_loop().run_in_executor(self._encoding, work)

    def stop(self) -> None:
        """End all answers, and ask no more: that raises ``PipelineClosed``."""
        self.on_stop.tell(None)
        self._clients.close()

    def close(self) -> None:
        """Stop, and let the threads end."""
        self._clients.close()
        self._encoding.shutdown(wait=False, cancel_futures=True)
        self._opening.shutdown(wait=False, cancel_futures=True)

    def _noting(self, asks: Sequence[Ask]) -> Callable[[int, Answer], None]:
        prompts = [ask.prompt for ask in asks for _ in range(ask.choices)]
        visit = current_visit.get()

        def note(choice: int, answer: Answer) -> None:
            if self._prompts:
                self._prompts.write(prompts[choice], answer, visit.asker if visit else "")

        return note

    def _all_prepared(self, asks: Sequence[Ask], asker: str) -> tuple[PipelineClient, list[Asked]]:
        client = self._clients.take()
        try:
            return client, [one for ask in asks for one in self._prepared(client, ask, asker)]
        except BaseException:
            self._clients.give_back(client)
            raise

    def _prepared(self, client: PipelineClient, ask: Ask, asker: str) -> list[Asked]:
        client.check_queue()
        first, room = client.question(ask.prompt, **ask.keywords), client.room()
        one_off = first.options.one_off or is_one_off(ask.prompt)
        asker = first.options.asker or asker
        first = replace(first, options=replace(first.options, asker=asker, one_off=one_off))
        if "max_tokens" not in ask.keywords:
            most = room.most_tokens(len(first.prompt_ids), MOST_TOKENS)
            first = replace(first, options=replace(first.options, max_tokens=most))
        room.check(first.prompt_ids, first.options.max_tokens)
        sampling = first.options.sampling
        questions = [first]
        for number in range(1, ask.choices):
            again = replace(sampling, seed=(sampling.seed + number) % 2**64)
            questions.append(replace(first, options=replace(first.options, sampling=again)))
        return [client.prepare(question) for question in questions]
