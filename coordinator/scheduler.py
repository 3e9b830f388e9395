"""Many texts through one pipeline, so that no stage is ever idle: continuous batching.

One thread decides, whenever a step has come back or a request has come in, what the next steps
carry. Rows that extend texts go first, in as many micro-batches as keep all stages busy; prompts
fill up what is left of a step; where nothing certain is left to send, guesses are.
"""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from cluster.errors import ClusterError, NodeError, QueueFull
from coordinator.batching import Pick, Running, next_picks
from coordinator.generation import FinishReason, Generation, GenerationOptions
from coordinator.measurement import Measurement
from coordinator.model import ServedModel
from coordinator.pace import Pace
from coordinator.pipeline import RowLogits, Session, StepChunk, StepResult
from coordinator.residents import CacheLimits, Residents
from transformer.errors import ModelError
from transformer.sampling import candidates_needed, sample


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How a pipeline is shared; none of it changes any text."""

    reuse_prefixes: bool = True
    max_waiting: int = 1000
    """Requests that may wait for room in the caches."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step that came back, for pictures of who worked when."""

    sent_s: float
    """By the coordinator's clock, ``time.perf_counter``."""
    received_s: float
    rows: int
    guessed_rows: int
    prompt_rows: int
    result: StepResult


@dataclass(frozen=True, slots=True)
class _Sent:
    """A step in flight."""

    picks: list[Pick]
    chunks: list[StepChunk]
    at: float
    is_alone: bool

    @property
    def rows(self) -> int:
        return sum(len(chunk.ids) for chunk in self.chunks)


class Scheduler:
    """Serves requests from any thread, from ``with`` to its end.

    The session belongs to it meanwhile. When the pipeline fails, every request that is not done
    raises that failure, and so does each later :meth:`submit`.
    """

    def __init__(
        self,
        session: Session,
        model: ServedModel,
        limits: CacheLimits,
        settings: SchedulerSettings | None = None,
        on_step: Callable[[StepRecord], None] | None = None,
    ) -> None:
        self._session = session
        self._model = model
        self._settings = settings or SchedulerSettings()
        self._on_step = on_step
        self._pace = Pace(len(session.stages), limits.max_step_rows)
        self._residents = Residents(limits, reuse=self._settings.reuse_prefixes)
        self._running: list[Running] = []
        self._sent: dict[int, _Sent] = {}
        self._untold: list[tuple[Generation, int | FinishReason | ModelError]] = []
        self._is_resting = True
        self._lock = threading.Lock()  # of what other threads see: the four below
        self._waiting: collections.deque[Generation] = collections.deque()
        self._cancelled: set[Generation] = set()
        self._failure: Exception | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._serve, name="scheduler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            self._is_closing = True
        self._session.wake()
        self._thread.join()

    def submit(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        measurement: Measurement | None = None,
    ) -> Generation:
        """Ask for a text; returns at once.

        Raises ``PromptError`` for ids that the model cannot take, ``QueueFull`` when too many
        requests wait already, and what made the pipeline fail.
        """
        self._model.check_prompt(prompt_ids)
        measurement = measurement or Measurement(self._session.stages)
        generation = Generation(prompt_ids, options, measurement, self._cancel)
        with self._lock:
            if self._failure:
                raise self._failure
            if len(self._waiting) >= self._settings.max_waiting:
                raise QueueFull(
                    f"{len(self._waiting)} requests wait for the pipeline already: try again later"
                )
            generation.queue_position = len(self._waiting)
            self._waiting.append(generation)
        self._session.wake()
        return generation

    def _cancel(self, generation: Generation) -> None:
        with self._lock:
            self._cancelled.add(generation)
        self._session.wake()

    def _serve(self) -> None:
        try:
            while not self._is_closing:
                self._drop_cancelled()
                self._admit()
                self._send_steps()
                self._tell()
                self._rest_if_idle()
                if (result := self._session.wait()) is not None:
                    self._take(result)
            self._stop(NodeError("the coordinator was closed"))
        except ClusterError as error:
            self._stop(error)
        except BaseException as error:
            self._stop(NodeError(f"the scheduler failed: {error!r}"))
            raise

    def _stop(self, failure: Exception) -> None:
        """Tell everyone why nothing more comes, and leave nothing in flight."""
        self._tell()
        with self._lock:
            self._failure = failure
            left = [*(running.generation for running in self._running), *self._waiting]
            self._waiting.clear()
        for running in self._running:
            self._session.supersede(running.state.number)
        self._running.clear()
        for generation in left:
            generation.tell(failure)

    def _drop_cancelled(self) -> None:
        with self._lock:
            cancelled, self._cancelled = self._cancelled, set()
            for generation in cancelled:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(generation)
                    generation.tell(FinishReason.INTERRUPTED)
        for running in [r for r in self._running if r.generation in cancelled]:
            self._finish(running, FinishReason.INTERRUPTED)

    def _admit(self) -> None:
        """Let requests in, in their order, as long as their caches have room."""
        while self._waiting:
            generation = self._waiting[0]
            options, prompt = generation.options, generation.prompt_ids
            # The last id is sampled and never sent.
            most = len(prompt) + options.max_tokens - 1
            placement = self._residents.place(prompt, most, candidates_needed(options.sampling))
            if placement is None:
                break
            with self._lock:
                self._waiting.popleft()
            generation.queue_position = None
            for number in placement.evicted:
                self._session.end_sequence(number)
            running = Running(generation, placement.state)
            self._running.append(running)
            if placement.state.prefix_of:
                # At once: the sequence that it copies may move on or go.
                self._send([running.first_pick(self._pace)])
        with self._lock:
            for position, generation in enumerate(self._waiting):
                generation.queue_position = position

    def _send_steps(self) -> None:
        while picks := next_picks(self._running, self._pace, self._session.in_flight):
            self._send(picks)

    def _send(self, picks: list[Pick]) -> None:
        chunks = [pick.running.take(pick.rows) for pick in picks]
        is_alone = not self._session.in_flight
        now = time.perf_counter()
        step = self._session.submit(chunks)
        self._sent[step] = _Sent(picks, chunks, now, is_alone)
        self._is_resting = False
        for pick in picks:
            pick.running.sent(step, now)

    def _tell(self) -> None:
        """Hand out what was sampled, after sending: each listener that wakes up takes its time."""
        untold, self._untold = self._untold, []
        for generation, news in untold:
            generation.tell(news)

    def _rest_if_idle(self) -> None:
        if not self._running and not self._session.in_flight and not self._is_resting:
            self._sent.clear()
            self._is_resting = True
            self._session.rest()

    def _take(self, result: StepResult) -> None:
        """Use what a step brought back."""
        now = time.perf_counter()
        # Steps that were superseded as a whole lie before this one and do not come back.
        for step in [step for step in self._sent if step < result.step]:
            del self._sent[step]
        sent = self._sent.pop(result.step)
        self._pace.add(sent.rows, result, now - sent.at)
        if self._on_step:
            self._report(sent, result, now)
        rows = collections.defaultdict(list)
        for row in result.rows:
            rows[row.sequence].append(row)
        alone_s = now - sent.at if sent.is_alone and not self._session.in_flight else None
        for pick, chunk in zip(sent.picks, sent.chunks, strict=True):
            running = pick.running
            if result.step in running.state.in_flight:
                running.state.in_flight.remove(result.step)
                running.generation.measurement.add_step(result, alone_s, bool(pick.prompt_rows))
                try:
                    self._extend(running, chunk, rows[chunk.sequence])
                except ModelError as error:
                    self._finish(running, error)  # the other texts may be well

    def _extend(self, running: Running, chunk: StepChunk, rows: list[RowLogits]) -> None:
        """Sample from a chunk's rows, one after the other, up to the first wrong guess."""
        state, generation = running.state, running.generation
        for row in rows:
            if row.position != len(state.text) - 1:
                raise NodeError(f"the last stage answered for position {row.position} out of turn")
            sampling = generation.options.sampling
            token = sample(row.candidates, sampling, row.position + 1, running.seen)
            state.confirmed = row.position + 1
            generation.measurement.add_token()
            if reason := running.end_before(token, self._model):
                self._finish(running, reason)
                return
            was_right = running.accept(token)
            self._untold.append((generation, token))
            if reason := running.end_after(self._model):
                self._finish(running, reason)
                return
            if not was_right:
                self._session.supersede(state.number)
                state.in_flight.clear()
                return
        state.confirmed = chunk.start + len(chunk.ids)

    def _finish(self, running: Running, reason: FinishReason | ModelError) -> None:
        state = running.state
        self._running.remove(running)
        self._session.supersede(state.number)
        if not self._residents.finish(state):
            self._session.end_sequence(state.number)
        self._untold.append((running.generation, reason))

    def _report(self, sent: _Sent, result: StepResult, now: float) -> None:
        assert self._on_step
        guessed = sum(pick.guessed_rows for pick in sent.picks)
        prompt = sum(pick.prompt_rows for pick in sent.picks)
        self._on_step(StepRecord(sent.at, now, sent.rows, guessed, prompt, result))
