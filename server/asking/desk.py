"""Where all adapters ask: encodes what is asked, off the event loop, and hands out replies."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.model_card import ModelCard
from pi_cluster.server.asking.reply import Reply

T = TypeVar("T")

MOST_TOKENS = 1024
"""Tokens of an answer where a request does not say: room for them is set aside."""
_ENCODERS = 2  # templates and tokenising
_OPENERS = 4  # sessions that begin; questions that wait their turn take up none of them


class Desk:
    """Asks one cluster's pipeline for everybody; used by the event loop alone."""

    def __init__(self, client: PipelineClient) -> None:
        """The client stays whose it is."""
        self.client = client
        self.card = ModelCard.of(client.record, client.model)
        self._encoding = ThreadPoolExecutor(_ENCODERS, "encoding")
        self._opening = ThreadPoolExecutor(_OPENERS, "opening")

    async def prepare(self, *asks: Ask) -> Reply:
        """Encode and check what is asked; nothing is asked before the reply is iterated.

        Several asks have one reply, with the choices of the first before those of the next.
        Raises ``PromptError`` and ``SettingsError`` for what cannot be asked.
        """
        asked = await self.encoding(lambda: [one for ask in asks for one in self._prepared(ask)])
        return Reply(asked, self._opening)

    async def encoding(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, done beside the loop as all that reads or writes text is."""
        return await asyncio.get_running_loop().run_in_executor(self._encoding, work)

    def close(self) -> None:
        """Let the threads end."""
        self._encoding.shutdown(wait=False, cancel_futures=True)
        self._opening.shutdown(wait=False, cancel_futures=True)

    def _prepared(self, ask: Ask) -> list[Asked]:
        first = self.client.question(ask.prompt, **ask.keywords)
        room = self.client.room()
        if "max_tokens" not in ask.keywords:
            most = room.most_tokens(len(first.prompt_ids), MOST_TOKENS)
            first = replace(first, options=replace(first.options, max_tokens=most))
        room.check(first.prompt_ids, first.options.max_tokens)
        sampling = first.options.sampling
        questions = [first]
        for number in range(1, ask.choices):
            again = replace(sampling, seed=(sampling.seed + number) % 2**64)
            questions.append(replace(first, options=replace(first.options, sampling=again)))
        return [self.client.prepare(question, is_shown=True) for question in questions]
