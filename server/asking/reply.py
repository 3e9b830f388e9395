"""Answers as they come, for a task of the event loop."""

import asyncio
import queue
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Asked, Piece
from pi_cluster.server.asking.visit import FAILED, LEFT, Visit, current_visit


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


class Reply:
    """The answers to one request. Iterate, once, to ask and to get its events.

    Leaving early, also by the task's end, cancels what has not ended. A failure of one answer is
    raised and ends the others.
    """

    def __init__(
        self,
        asked: Sequence[Asked],
        pool: Executor,
        on_answer: Callable[[int, Answer], None] | None = None,
    ) -> None:
        """``pool`` has the threads that may wait, such as for a session to begin.

        ``on_answer`` is told of each choice whose answer is complete.
        """
        self._asked = tuple(asked)
        self._on_answer = on_answer
        self._pool = pool

    @property
    def choices(self) -> int:
        """How many answers it has."""
        return len(self._asked)

    def cancel(self) -> None:
        """End all answers; they come with what they have."""
        for asked in self._asked:
            asked.cancel()

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        news: asyncio.Queue[int] = asyncio.Queue()
        asking: set[asyncio.Task[None]] = set()
        visit = current_visit.get() or Visit("", "", "")
        visit.has_asked = True
        try:
            for choice, asked in enumerate(self._asked):
                asked.on_news = _waking(asked, partial(news.put_nowait, choice))
                await self._ask(asked)
            left = set(range(len(self._asked)))
            while left:
                choice = await news.get()
                asked = self._asked[choice]
                if choice not in left:
                    continue
                for piece in self._pieces(asked, asking):
                    visit.grew(choice)
                    yield Grown(choice, piece)
                if asked.has_ended:
                    left.remove(choice)
                    visit.answers.append(asked.answer)
                    if self._on_answer:
                        self._on_answer(choice, asked.answer)
                    yield Ended(choice, asked.answer)
        except (GeneratorExit, asyncio.CancelledError):
            # Many leave at the last piece: they have all that they wanted.
            if not all(asked.has_ended for asked in self._asked):
                visit.outcome = LEFT
            raise
        except Exception:
            visit.outcome = FAILED
            raise
        finally:
            for task in asking:
                task.cancel()
            for asked in self._asked:
                asked.close()

    def _pieces(self, asked: Asked, asking: set[asyncio.Task[None]]) -> Iterator[Piece]:
        while not asked.has_ended:
            try:
                piece = asked.take(asked.news.get_nowait())
            except queue.Empty:
                return
            except ClusterError as error:
                task = asyncio.get_running_loop().create_task(self._ask(asked, error))
                asking.add(task)
                task.add_done_callback(partial(_settled, asking))
                return
            if piece.text or piece.parts or piece.logprobs:
                yield piece

    async def _ask(self, asked: Asked, error: ClusterError | None = None) -> None:
        loop = asyncio.get_running_loop()
        steps = asked.ask(error)
        while (pause_s := await loop.run_in_executor(self._pool, next, steps, None)) is not None:
            await asyncio.sleep(pause_s)


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
