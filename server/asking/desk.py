"""Where all adapters ask: encodes what is asked, off the event loop, and hands out replies."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from pi_cluster.cluster.errors import KeptNowhere
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.coordinator.asking.question import Prompt, Question
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.keeping.journal import KeptAnswer
from pi_cluster.coordinator.listeners import Listeners
from pi_cluster.coordinator.pipeline.status import PipelineStatus
from pi_cluster.server.asking.ask import Ask
from pi_cluster.server.asking.clients import Clients
from pi_cluster.server.asking.crowd import Crowd
from pi_cluster.server.asking.kept import Keeper, Kept, KeptReply
from pi_cluster.server.asking.kept_question import asking_of, question_of
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
        keeper: Keeper | None = None,
    ) -> None:
        """The desk closes the client; ``renew`` makes that of another model which is up since.

        What is asked is written down in ``prompts`` if that was wished. Answers under way are kept
        by the ``keeper`` for the next server.
        """
        self._keeper = keeper
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

    async def prepare(self, *asks: Ask, only_check: bool = False) -> Reply:
        """Encode and check what is asked; nothing is asked before the reply is iterated.

        The reply holds the client until it is closed, which the end of its iteration does too.
        Several asks have one reply, with the choices of the first before those of the next.
        With ``only_check`` nothing is kept of it. Raises ``PromptError`` and ``SettingsError`` for
        what cannot be asked, and ``QueueFull`` while too many wait: a stream that has begun could
        not be refused by its status.
        """
        visit = current_visit.get()
        asker = visit.asker if visit else ""
        keeper = None if only_check else self._keeper
        client, asked, kept = await self.encoding(lambda: self._all_prepared(asks, asker, keeper))
        noting = self._noting([ask.prompt for ask in asks for _ in range(ask.choices)], asker)
        return self._reply(client, asked, KeptReply(keeper, kept), noting)

    async def resume(self, name: str, asker: str | None) -> Reply:
        """Go on with an answer that another server has left, from its beginning.

        Raises ``KeptNowhere`` where ``asker`` has none of that name; None may have everybody's.
        """
        if (keeper := self._keeper) is None:
            raise KeptNowhere("this server keeps no answers: ask anew")
        client, asked, kept = await self.encoding(lambda: self._resumed(keeper, name, asker))
        asking = kept.entry.asking
        noting = self._noting([asking.prompt], str(asking.keywords.get("asker", "")))
        return self._reply(client, [asked], KeptReply(keeper, [kept]), noting)

    async def look(self, asker: str | None) -> list[KeptAnswer]:
        """The unfinished answers of ``asker``, or with None of everybody."""
        keeper = self._keeper
        return await self.encoding(lambda: keeper.look(asker)) if keeper else []

    def _reply(
        self,
        client: PipelineClient,
        asked: list[Asked],
        kept: KeptReply,
        on_answer: Callable[[int, Answer], None],
    ) -> Reply:
        return Reply(
            *(asked, self._opening, self._crowd),
            on_answer=on_answer,
            on_end=partial(self._clients.give_back, client),
            kept=kept,
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
        if self._keeper:
            self._keeper.stop()
        self.on_stop.tell(None)
        self._clients.close()

    def close(self) -> None:
        """Stop, and let the threads end."""
        self._clients.close()
        self._encoding.shutdown(wait=False, cancel_futures=True)
        self._opening.shutdown(wait=False, cancel_futures=True)

    def _noting(self, prompts: Sequence[Prompt], asker: str) -> Callable[[int, Answer], None]:
        def note(choice: int, answer: Answer) -> None:
            if self._prompts:
                self._prompts.write(prompts[choice], answer, asker)

        return note

    def _all_prepared(
        self, asks: Sequence[Ask], asker: str, keeper: Keeper | None
    ) -> tuple[PipelineClient, list[Asked], list[Kept | None]]:
        client = self._clients.take()
        try:
            questions = [(ask, one) for ask in asks for one in _questions(client, ask, asker)]
            now_s = time.time()
            kept = [
                keeper.begin(asking_of(client, ask.prompt, ask.keywords, question, now_s))
                if keeper and not question.options.pooling
                else None
                for ask, question in questions
            ]
            asked = [
                client.prepare(question, on_token=one.keep if one else None)
                for (_, question), one in zip(questions, kept, strict=True)
            ]
            return client, asked, kept
        except BaseException:
            self._clients.give_back(client)
            raise

    def _resumed(
        self, keeper: Keeper, name: str, asker: str | None
    ) -> tuple[PipelineClient, Asked, Kept]:
        client = self._clients.take()
        try:
            kept = keeper.resume(name, asker)  # it had its place: no queue is too long for it
            try:
                question = question_of(client, kept.entry.asking)
                return client, client.prepare(question, kept.begun, kept.keep), kept
            except BaseException:
                kept.close(is_left=True)
                raise
        except BaseException:
            self._clients.give_back(client)
            raise


def _questions(client: PipelineClient, ask: Ask, asker: str) -> list[Question]:
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
    return questions
