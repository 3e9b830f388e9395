"""An answer in pieces, as they come: for one thread an answer, or for one thread many."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Self

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.asked import Asked
from pi_cluster.transformer.errors import ModelError


class AnswerStream:
    """Iterate over it for pieces of text; `answer` then has it all.

    The pipeline works on it whether it is iterated or not. Leaving the loop early ends it at once,
    and so does the end of a ``with`` block. One thread iterates; any may `cancel`.
    """

    def __init__(self, asked: Asked) -> None:
        """Ask; raises what made that impossible."""
        self._asked = asked
        self._ask()

    @property
    def answer(self) -> Answer:
        """What came of it, once it has ended. Raises the failure if there was one."""
        return self._asked.answer

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self._asked.has_ended

    @property
    def is_asked(self) -> bool:
        """Whether the pipeline has the question; not while it waits to be asked again."""
        return self._asked.is_asked

    def cancel(self) -> None:
        """End it, from any thread: whoever iterates gets what has come until then."""
        self._asked.cancel()

    def close(self) -> None:
        """End it with what was given so far."""
        self._asked.close()

    def __iter__(self) -> Iterator[str]:
        asked = self._asked
        try:
            if asked.begun.text:
                yield asked.begun.text
            while not asked.has_ended:
                try:
                    piece = asked.take(asked.news.get())
                except ClusterError as error:
                    self._ask(error)
                    continue
                if piece.text:
                    yield piece.text
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _ask(self, error: ClusterError | None = None) -> None:
        for pause_s in self._asked.ask(error):
            self._asked.wait(pause_s)

    def _pieces_there(self) -> Iterator[str]:
        """Those that need not be waited for. A failure is for `answer` to tell."""
        while not self._asked.has_ended:
            try:
                piece = self._asked.take(self._asked.news.get_nowait())
            except (queue.Empty, ModelError):
                return
            except ClusterError as error:
                # Whoever serves many waits for none of them.
                threading.Thread(target=self._ask_again, args=(error,), daemon=True).start()
                return
            if piece.text:
                yield piece.text

    def _ask_again(self, error: ClusterError) -> None:
        with suppress(ClusterError, ModelError):  # it is kept for `answer`
            self._ask(error)


def as_they_come(streams: Iterable[AnswerStream]) -> Iterator[tuple[AnswerStream, str | None]]:
    """Serve many answers on one thread: yields a stream and its next piece, whichever comes first.

    A stream that has ended comes once more, with None: its ``answer`` tells how, or raises why it
    failed, which ends none of the others.
    """
    left = set(streams)
    ready: queue.SimpleQueue[AnswerStream] = queue.SimpleQueue()
    for stream in left:
        stream._asked.on_news = partial(ready.put, stream)
        ready.put(stream)  # it may have news from before
    while left:
        stream = ready.get()
        if stream not in left:
            continue
        for piece in stream._pieces_there():
            yield stream, piece
        if stream.has_ended:
            left.remove(stream)
            yield stream, None
