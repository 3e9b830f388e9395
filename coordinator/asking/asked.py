"""A question on its way to its answer, whichever way its asker waits."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pi_cluster.cluster.errors import ClusterError, NodeLost, ShardDamaged
from pi_cluster.coordinator.asking.answer import Answer
from pi_cluster.coordinator.asking.attempt import Attempt
from pi_cluster.coordinator.asking.hold import Hold
from pi_cluster.coordinator.asking.parts import Called, Part
from pi_cluster.coordinator.asking.question import Question
from pi_cluster.coordinator.calling.tools import ToolCall
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import Generation, News
from pi_cluster.coordinator.logprobs import TokenLogprobs
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.patience import Patience
from pi_cluster.coordinator.standing import Held, Standing
from pi_cluster.coordinator.timings import Timings


@dataclass(frozen=True, slots=True)
class Piece:
    """What the answer has grown by and may be shown; perhaps by nothing."""

    text: str = ""
    """All of it, as it stands in ``Answer.text``."""
    parts: tuple[Part, ...] = ()
    """The same, told apart; what cannot be told apart yet comes with a later piece."""
    logprobs: tuple[TokenLogprobs, ...] = ()
    """Of the tokens that came with it, also of those that have no text yet; if asked for."""


class Asked:
    """Asks, asks again where that is right, and turns what comes into pieces of text.

    It never waits: `ask` yields how long to wait, and `news` holds what came. A thread, an event
    loop or a thread with many questions each waits in its own way, by the same rules. One of them
    at a time calls `ask` and `take`; any thread may `cancel`.

    A question whose session is lost is asked again, with what was answered behind it, and waits
    while the pipeline answers another; see ``Patience``. A draw depends on its position alone, so
    the answer goes on as it would have.
    """

    def __init__(
        self,
        hold: Hold,
        question: Question,
        patience: Patience,
        begun: Sequence[int] = (),
        on_token: Callable[[int], None] | None = None,
    ) -> None:
        """``begun`` is what another program was answered already; the answer goes on behind it.

        ``on_token`` is told of each further one.
        """
        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        """What came of the question and was not taken yet."""
        self.on_news: Callable[[], None] | None = None
        """Called on any thread when there are news, or when it has failed; it must not wait.

        Whoever sets it takes it back at the end, if it holds this.
        """
        self.has_ended = False
        self._hold = hold
        self._question = question
        self._patience = patience
        self._cancelled = threading.Event()
        self._attempt = Attempt(hold)
        self._generation: Generation | None = None
        self._answered = list(begun)  # by sessions that were lost
        self._on_token = on_token
        self._logprobs: list[TokenLogprobs] = []
        self._measured: Measurement | None = None
        self._text, self._parts = question.new_text(), question.new_parts()
        self._shown = ""  # of an answer with calls, whose spelling is not shown
        self._calls: list[ToolCall] = []
        self._failure: Exception | None = None
        text = "".join(map(self._text.push, self._answered)) if self._text else ""
        self.begun = self._grown(text, self._parts.push(text), ())
        """What may be shown of what it began with, before anything else."""

    @property
    def is_asked(self) -> bool:
        """Whether the pipeline has been given it, and did not lose it since."""
        return self._generation is not None

    @property
    def begins_in_thought(self) -> bool:
        """Whether the answer goes on with a thought that the prompt has opened."""
        return self._question.begins_in_thought

    def standing(self) -> Standing | None:
        """What it waits for, as any thread may ask; None while its answer comes, or has ended."""
        if self.has_ended:
            return None
        if generation := self._generation:
            return generation.standing()
        return Held(self._patience.awaits) if self._patience.awaits else None

    @property
    def answer(self) -> Answer:
        """What came of it. Raises the failure, or ``RuntimeError`` before its end."""
        if self._failure:
            raise self._failure
        if not self.has_ended:
            raise RuntimeError("the answer has not ended: iterate to its end, or close it")
        generation, question = self._generation, self._question
        text = self._text.text if self._text else None
        if question.tool_use:
            text = self._shown
        seed = question.options.sampling.seed
        prompt_ids = list(question.prompt_ids)
        ids, logprobs = self._answered, self._logprobs
        reason, measured = FinishReason.INTERRUPTED, self._measured
        if generation is not None:
            ids, measured = [*ids, *generation.ids], generation.measurement
            logprobs = [*logprobs, *generation.logprobs[: len(generation.ids)]]
            reason = generation.finish_reason
        if measured is None:
            times = Timings(0.0, 0.0, 0.0, 0.0, len(prompt_ids), 0)
            return Answer(text, [], prompt_ids, reason, times, (), seed)
        times = measured.timings(len(prompt_ids), len(ids))
        stages = measured.stage_figures()
        calls = list(self._calls)
        pooled = generation.pooled if generation else None
        scored = generation.scored if generation else None
        vector = pooled.vector() if pooled and reason is FinishReason.LENGTH else None
        scores = scored.logprobs if scored and reason is FinishReason.LENGTH else None
        return Answer(
            *(text, ids, prompt_ids, reason, times, stages, seed, logprobs, calls, vector, scores)
        )

    def ask(self, error: ClusterError | None = None) -> Iterator[float]:
        """Ask, again after ``error``. Yields seconds to wait, and ends when it is asked.

        Each step may take seconds, as it opens a session. Raises what a person should know.
        """
        try:
            yield from self._ask(error)
        except Exception as failure:
            self._fail(failure)
            raise

    def take(self, news: News) -> Piece:
        """What may be shown now. A ``ClusterError`` that it raises is one for `ask`."""
        generation = self._generation
        if self.has_ended:
            return Piece()
        if generation is None:  # cancelled before it was asked, again maybe
            return self._end("")
        try:
            piece = self._piece(generation, news)
        except ClusterError:
            raise
        except Exception as failure:
            self._fail(failure)
            raise
        return piece

    def wait(self, seconds: float) -> None:
        """Wait as `ask` wants it, or until it is cancelled."""
        self._cancelled.wait(seconds)

    def cancel(self) -> None:
        """End it at once, from any thread; what has come can still be taken."""
        self._cancelled.set()
        if generation := self._generation:
            generation.cancel()

    def close(self) -> None:
        """End it with what was taken so far; harmless when it has ended."""
        if not self.has_ended:
            self.cancel()
            self._end("")

    def _ask(self, error: ClusterError | None) -> Iterator[float]:
        self._keep_answered()
        if isinstance(error, ShardDamaged) and self._answered:
            raise error  # a part of what was shown may have come of it
        if error and self._answered and not self._hold.healer.mends(error):
            was_awaited = isinstance(error, NodeLost) and error.was_awaited
            if was_awaited and not self._patience.is_lasting:
                raise error  # who reads along has waited for that node already
        while True:
            if error:
                for pause_s in self._attempt.after(error, self._patience):
                    if self._cancelled.is_set():
                        break
                    yield pause_s
            if self._cancelled.is_set():
                self._came(FinishReason.INTERRUPTED)
                return
            self._attempt = Attempt(self._hold)
            try:
                generation = self._attempt.submit(self._question, self._answered, self._measured)
            except ClusterError as failed:
                error = failed
                continue
            self._generation = generation
            self._patience.was_asked()
            generation.listen(self._came)
            if self._cancelled.is_set():  # too late for `cancel` to know of the generation
                generation.cancel()
            return

    def _keep_answered(self) -> None:
        """Go on behind what a lost session has answered."""
        if lost := self._generation:
            self._generation = None
            self._answered += lost.ids
            self._logprobs += lost.logprobs[: len(lost.ids)]
            self._measured = lost.measurement
            if lost.ids:
                self._patience.renew()

    def _piece(self, generation: Generation, news: News) -> Piece:
        token = generation.take(news)
        if token is not None and self._on_token:
            self._on_token(token)
        came = len(generation.ids)
        logprobs = tuple(generation.logprobs[came - 1 : came]) if token is not None else ()
        text = self._text.push(token) if self._text and token is not None else ""
        if self._text and self._text.stopped:
            generation.finish_reason = FinishReason.STOP
            generation.cancel()
        elif token is not None:
            return self._grown(text, self._parts.push(text), logprobs)
        return self._end(text, logprobs)

    def _end(self, text: str, logprobs: tuple[TokenLogprobs, ...] = ()) -> Piece:
        self.has_ended = True
        text += self._text.finish() if self._text else ""
        parts = (*self._parts.push(text), *self._parts.finish())
        return self._grown(text, parts, logprobs)

    def _grown(
        self, text: str, parts: Iterable[Part], logprobs: tuple[TokenLogprobs, ...]
    ) -> Piece:
        parts = tuple(parts)
        if self._question.tool_use:
            self._calls += [part.call for part in parts if isinstance(part, Called)]
            text = "".join(part.text for part in parts if not isinstance(part, Called))
            self._shown += text
        return Piece(text, parts, logprobs)

    def _fail(self, failure: Exception) -> None:
        self._failure, self.has_ended = failure, True
        self._wake()

    def _came(self, news: News) -> None:
        self.news.put(news)
        self._wake()

    def _wake(self) -> None:
        if on_news := self.on_news:
            on_news()
