"""Answers as they come, for a task of the event loop."""

import asyncio
import queue
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Asked, Piece
from pi_cluster.coordinator.standing import Held, Reading, Standing, Waiting
from pi_cluster.server.asking.crowd import Crowd
from pi_cluster.server.asking.kept import KeptReply
from pi_cluster.server.asking.visit import FAILED, LEFT, Visit, current_visit
from pi_cluster.transformer.errors import ModelError


@dataclass(frozen=True, slots=True)
class Grown:
    """One of the answers has grown."""

    choice: int
    piece: Piece


@dataclass(frozen=True, slots=True)
class Ended:
    """One of the answers is complete."""

    choice: int
    answer: Answer


Event = Grown | Ended


_KEPT_OUT = "another program has the pipeline to itself: waiting for it to finish"


class Reply:
    """The answers to one request. Iterate, once, to ask and to get its events.

    Leaving early, also by the task's end, cancels what has not ended. A failure of one answer is
    raised and ends the others. Who may come to iterate none closes it.
    """

    def __init__(
        self,
        asked: Sequence[Asked],
        pool: Executor,
        crowd: Crowd | None = None,
        *,
        on_answer: Callable[[int, Answer], None] = lambda _choice, _answer: None,
        on_end: Callable[[], None] = lambda: None,
        kept: KeptReply | None = None,
    ) -> None:
        """``pool`` has the threads that may wait, such as for a session to begin.

        It is asked as one of the ``crowd``. ``on_answer`` is told of each choice whose answer is
        complete, and ``on_end`` once, when it is closed. What is ``kept`` of the answers goes when
        they end.
        """
        self._asked = tuple(asked)
        self._pool = pool
        self._crowd = crowd or Crowd()
        self._on_answer = on_answer
        self._on_end = on_end
        self._kept = kept or KeptReply(None, [None] * len(self._asked))
        self._is_kept_out = False
        self._is_closed = False

    @property
    def choices(self) -> int:
        """How many answers it has."""
        return len(self._asked)

    @property
    def name(self) -> str:
        """By which a restarted server goes on with the first answer; empty if it does not."""
        return self._kept.name

    @property
    def begins_in_thought(self) -> bool:
        """Whether the first answer goes on with a thought that the prompt has opened."""
        return self._asked[0].begins_in_thought

    def cancel(self) -> None:
        """End all answers; they come with what they have."""
        for asked in self._asked:
            asked.cancel()

    def close(self) -> None:
        """End all answers, and let go of the pipeline; harmless when they have ended."""
        for asked in self._asked:
            asked.close()
        if not self._is_closed:
            self._is_closed = True
            self._kept.close()
            self._on_end()

    def standing(self) -> Standing | None:
        """What is waited for: of several answers, that of the one which has come farthest.

        None while one of them comes.
        """
        if self._is_kept_out:
            return Held(_KEPT_OUT)
        found = [asked.standing() for asked in self._asked if not asked.has_ended]
        waiting = [one for one in found if one]
        return max(waiting, key=_farness) if waiting and len(waiting) == len(found) else None

    def _waits(self) -> bool:
        left = [asked for asked in self._asked if not asked.has_ended]
        return bool(left) and (
            self._is_kept_out
            or not any(
                one.is_asked and not isinstance(one.standing(), Held | Waiting) for one in left
            )
        )

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        visit = current_visit.get() or Visit("", "", "")
        visit.has_asked = self._is_kept_out = True
        visit.waits = self._waits
        try:
            async with self._crowd.among(), aclosing(self._events()) as events:
                self._is_kept_out = False
                async for event in events:
                    if isinstance(event, Grown):
                        visit.grew(event.choice)
                    else:
                        visit.answers.append(event.answer)
                        self._kept.ended(event.choice)
                        self._on_answer(event.choice, event.answer)
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            # Many leave at the last piece: they have all that they wanted.
            if not all(asked.has_ended for asked in self._asked):
                visit.outcome = LEFT
            raise
        except ClusterError as error:
            self._kept.failed(error)
            visit.outcome = FAILED
            raise
        except Exception:
            visit.outcome = FAILED
            raise
        finally:
            self._is_kept_out = False
            self.close()

    async def _events(self) -> AsyncGenerator[Event, None]:
        news: asyncio.Queue[int] = asyncio.Queue()
        asking: set[asyncio.Task[None]] = set()
        left = set(range(len(self._asked)))
        try:
            for choice, asked in enumerate(self._asked):
                if asked.begun.text or asked.begun.parts:
                    yield Grown(choice, asked.begun)
                asked.on_news = _waking(asked, partial(news.put_nowait, choice))
                await self._ask(asked)
            while left:
                choice = await news.get()
                if choice not in left:
                    continue
                asked = self._asked[choice]
                for piece in self._pieces(asked, asking):
                    yield Grown(choice, piece)
                if asked.has_ended:
                    left.remove(choice)
                    yield Ended(choice, asked.answer)
        finally:
            for task in asking:
                task.cancel()
            for asked in self._asked:
                asked.on_news = None

    def _pieces(self, asked: Asked, asking: set[asyncio.Task[None]]) -> Iterator[Piece]:
        while not asked.has_ended:
            try:
                piece = asked.take(asked.news.get_nowait())
            except queue.Empty:
                return
            except ClusterError as error:
                task = asyncio.get_running_loop().create_task(self._ask_again(asked, error))
                asking.add(task)
                task.add_done_callback(partial(_settled, asking))
                return
            if piece.text or piece.parts or piece.logprobs:
                yield piece

    async def _ask_again(self, asked: Asked, error: ClusterError) -> None:
        with suppress(ClusterError, ModelError):  # it is kept for `answer`
            await self._ask(asked, error)

    async def _ask(self, asked: Asked, error: ClusterError | None = None) -> None:
        loop = asyncio.get_running_loop()
        steps = asked.ask(error)
        while (pause_s := await loop.run_in_executor(self._pool, next, steps, None)) is not None:
            await asyncio.sleep(pause_s)


def _farness(standing: Standing) -> tuple[int, int]:
    match standing:
        case Held():
            return 0, 0
        case Waiting(position=position):
            return 1, -position
        case Reading(done=done):
            return 2, done


def _settled(asking: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    asking.discard(task)
    if not task.cancelled():
        task.exception()  # the answer raises it


def _waking(asked: Asked, wake: Callable[[], None]) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def on_news() -> None:
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:  # the loop has ended, and nobody reads on
            asked.cancel()

    return on_news
