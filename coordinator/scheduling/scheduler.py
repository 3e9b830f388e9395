"""Many texts through one pipeline, so that no stage is ever idle: continuous batching.

One thread decides, whenever a step has come back or a request has come in, what the next steps
carry. Rows that extend texts go first, in as many micro-batches as keep all stages busy; prompts
fill up what is left of a step; where nothing certain is left to send, guesses are.

What goes wrong with one request ends that request alone. The stages refuse a step as a whole, and
with it the session, so each chunk is checked by their rules before it is sent; only the session's
own end, which ``Session.wait`` tells, ends all requests.
"""

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from pi_cluster.cluster.errors import ClusterError, NodeError, PutBack
from pi_cluster.coordinator.constraint import Constraint
from pi_cluster.coordinator.finish_reason import FinishReason
from pi_cluster.coordinator.generation import Generation, GenerationOptions, News
from pi_cluster.coordinator.listeners import Listeners
from pi_cluster.coordinator.logprobs import token_logprobs
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.coordinator.scheduling.batching import GuessFailed, Pick, Running, next_picks
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.guide import Guide
from pi_cluster.coordinator.scheduling.occupancy import Occupancy
from pi_cluster.coordinator.scheduling.pace import Pace
from pi_cluster.coordinator.scheduling.relief import Relief
from pi_cluster.coordinator.scheduling.requests import Requests
from pi_cluster.coordinator.scheduling.residents import CacheLimits, Residents
from pi_cluster.coordinator.scheduling.sent_steps import SentStep, SentSteps, StepRecord
from pi_cluster.coordinator.scheduling.sequence import SequenceState
from pi_cluster.coordinator.served_model import ServedModel
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.steps import RowLogits, RowState, StepChunk, StepResult
from pi_cluster.coordinator.trouble import listed
from pi_cluster.transformer.errors import ModelError
from pi_cluster.transformer.sampling import sample

log = logging.getLogger(__name__)

_IS_SHORT = "is short of memory; new texts wait until it has some to spare"
_ARE_SHORT = "are short of memory; new texts wait until they have some to spare"


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How a pipeline is shared; none of it changes any text."""

    reuse_prefixes: bool = True
    max_waiting: int = 1000
    """Requests that may wait for room in the caches."""
    rest_after_s: float = 0.0
    """How long nothing must be asked before the session makes way for other coordinators."""


class Scheduler:
    """Serves requests from any thread, from ``with`` to its end.

    The session belongs to it meanwhile. When the session is lost, every request that is not done
    raises that failure, and so does each later :meth:`submit`: whoever holds the scheduler then
    begins anew with another session.
    """

    def __init__(
        self,
        session: Session,
        model: ServedModel,
        limits: CacheLimits,
        settings: SchedulerSettings | None = None,
        counters: Counters | None = None,
        on_first_step: Callable[[], None] = lambda: None,
    ) -> None:
        """``counters`` are added to, from where they stand.

        ``on_first_step`` is called, on the scheduler's thread, when the session has begun to work.
        """
        self._session = session
        self._model = model
        self._limits = limits
        self.on_step = Listeners[StepRecord]()
        """Are told of each step that came back. What one raises, ``with`` ends with."""
        self.counters = counters or Counters()
        settings = settings or SchedulerSettings()
        self._pace = Pace(len(session.stages), limits.max_step_rows)
        self._residents = Residents(limits, reuse=settings.reuse_prefixes)
        self._running: list[Running] = []
        self._sent = SentSteps()
        self._untold: list[tuple[Generation, News]] = []
        self._is_resting = True
        self._rest_after_s = settings.rest_after_s
        self._idle_since_s: float | None = None
        self._has_served = False
        self._on_first_step = on_first_step
        self._requests = Requests(settings.max_waiting)
        self._relief = Relief()
        self._is_closing = False
        self._why_closed: ClusterError = NodeError("the coordinator was closed")
        self._thread = threading.Thread(target=self._serve, name="scheduler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        self.close()
        if kind is None and self.on_step.failure:
            raise self.on_step.failure

    def close(self, why: ClusterError | None = None) -> None:
        """End what runs, which raises ``why``, and wait until it has ended."""
        self._why_closed = why or self._why_closed
        self._is_closing = True
        self._session.wake()
        self._thread.join()

    @property
    def has_served(self) -> bool:
        """Whether a step has come back, so that the session had begun."""
        return self._has_served

    @property
    def failure(self) -> Exception | None:
        """What ended the session; None while requests are served."""
        return self._requests.failure

    @property
    def occupancy(self) -> Occupancy:
        """How full the pipeline is, as any thread may ask."""
        return Occupancy(
            *(self._requests.waiting, self._requests.running),
            *(self._limits.cache_positions, self._residents.positions_used),
            self._requests.expected_wait_s,
        )

    def check_queue(self) -> None:
        """Raises ``QueueFull`` when too many requests wait for one more; any thread may ask."""
        self._requests.check_room()

    def submit(
        self,
        prompt_ids: Sequence[int],
        options: GenerationOptions,
        measurement: Measurement | None = None,
        constraint: Constraint | None = None,
        answered: int = 0,
        *,
        had_place: bool = False,
    ) -> Generation:
        """Ask for a text, which keeps to a ``constraint`` of its own; returns at once.

        The last ``answered`` ids were generated by a session before; the constraint knows them.
        What waited or ran before, and ``had_place`` there, is not refused as one too many.

        Raises ``PromptError`` for ids that the model cannot take or that the caches have no room
        for, ``SettingsError`` for a bias of ids that it does not have, ``QueueFull`` when too many
        requests wait already, and what ended the session.
        """
        self._model.check_prompt(prompt_ids)
        self._model.check_bias(options.sampling.logit_bias)
        self._limits.check_room(self._most_positions(prompt_ids, options))
        measurement = measurement or Measurement(self._session.stages)
        waiting = self._requests.standing
        generation = Generation(
            prompt_ids, options, measurement, self._cancel, constraint, waiting, answered
        )
        self._requests.add(generation, had_place=had_place)
        self._session.wake()
        return generation

    def _most_positions(self, prompt_ids: Sequence[int], options: GenerationOptions) -> int:
        """Positions of a text at its end: all but the last token, which is never sent."""
        return self._model.longest(len(prompt_ids), options.max_tokens) - 1

    def _cancel(self, generation: Generation) -> None:
        self._requests.cancel(generation)
        self._session.wake()

    def _serve(self) -> None:
        try:
            while not self._is_closing:
                self._drop_cancelled()
                self._admit()
                self._send_steps()
                self._tell()
                if (result := self._session.wait(self._rest_if_idle())) is not None:
                    self._take(result)
            self._stop(self._why_closed)
        except ClusterError as error:
            self._stop(error)
        except BaseException as error:
            self._stop(NodeError(f"the scheduler failed: {error!r}"))
            raise

    def _stop(self, failure: Exception) -> None:
        """Tell everyone why nothing more comes, and leave nothing in flight."""
        self._tell()
        waiting = self._requests.end(failure)
        left = [*(running.generation for running in self._running), *waiting]
        for running in self._running:
            self._session.supersede(running.state.number)
        self._running.clear()
        for generation in left:
            generation.tell(failure)

    def _drop_cancelled(self) -> None:
        cancelled, waited = self._requests.take_cancelled()
        for generation in waited:
            generation.tell(FinishReason.INTERRUPTED)
        for running in [r for r in self._running if r.generation in cancelled]:
            self._finish(running, FinishReason.INTERRUPTED)

    def _admit(self) -> None:
        """Let requests in, in their turn, as long as their caches have room."""
        self._ease_memory()
        while generation := self._requests.first:
            if not self._relief.lets_in(now := time.monotonic(), len(self._running)):
                break
            options, prompt = generation.options, generation.prompt_ids
            most = self._most_positions(prompt, options)
            placement = self._residents.place(
                *(prompt, most, options.candidates),
                one_off=options.one_off,
                is_shared=options.pooling is not Pooling.MEAN,
            )
            if placement is None:
                break
            self._requests.let_in(generation)
            self._relief.let_in(now)
            for number in placement.evicted:
                self._session.end_sequence(number)
            if not generation.answered:  # else it has been counted
                generation.measurement.cached_tokens = placement.state.shared
            if not generation.measurement.was_let_in:  # else it is asked again
                generation.measurement.was_let_in = True
                self.counters.prompt_tokens += len(prompt)
                self.counters.cached_tokens += placement.state.shared
            self._begin(generation, placement.state)

    def _ease_memory(self) -> None:
        """Make room where a node is short of memory.

        What is kept for reuse goes first. If that is not enough, texts go back to wait, the last
        one first; the oldest goes on, so that something always ends.
        """
        short, now = self._session.short_of_memory, time.monotonic()
        reason = f"{listed(short)} {_IS_SHORT if len(short) == 1 else _ARE_SHORT}" if short else ""
        self._requests.hold_back(reason)
        if not short:
            self._relief.is_over()
            return
        self._relief.is_short(now)
        for number in self._residents.let_go():
            self._session.end_sequence(number)
            self._relief.acted(now)
        if len(self._running) > 1 and self._relief.needs_more(now):
            self._fail(self._running[-1], PutBack(reason))
            self._relief.acted(now)

    def _begin(self, generation: Generation, state: SequenceState) -> None:
        guide = None
        if generation.constraint:
            guide = Guide(generation.constraint, self._model.vocab_size, self._model.eos_ids)
        running = Running(generation, state, guide)
        self._running.append(running)
        generation.begin(state.positions_read)
        if guide:
            with self._ending_alone(running):
                if reason := running.begin(self._model):
                    self._give_opening(running)
                    self._finish(running, reason)
        if state.prefix_of and running in self._running:
            # At once: the sequence that it copies may move on or go.
            self._send([running.first_pick(self._pace)])

    def _send_steps(self) -> None:
        while picks := self._next_picks():
            self._send(picks)

    def _next_picks(self) -> Sequence[Pick]:
        while True:
            try:
                return next_picks(self._running, self._pace, self._session.in_flight)
            except GuessFailed as failed:
                with self._ending_alone(failed.running):
                    raise failed.__cause__ or failed from None

    def _send(self, picks: Sequence[Pick]) -> None:
        picks = [pick for pick in picks if self._may_go(pick)]
        if not picks:
            return
        chunks = [pick.running.take(pick.rows) for pick in picks]
        is_alone = not self._session.in_flight
        now = time.perf_counter()
        step = self._session.submit(chunks)
        self._sent.add(step, SentStep(picks, chunks, now, is_alone))
        self._is_resting = False
        for pick in picks:
            pick.running.sent(step, now)

    def _may_go(self, pick: Pick) -> bool:
        """Whether the stages will take a chunk; a request that would break their rules ends."""
        try:
            self._residents.check(pick.running.state, pick.rows)
        except ModelError as error:
            self._fail(pick.running, error)
            return False
        return True

    def _tell(self) -> None:
        """Hand out what was sampled, after sending: each listener that wakes up takes its time."""
        untold, self._untold = self._untold, []
        for generation, news in untold:
            generation.tell(news)

    def _rest_if_idle(self) -> float | None:
        """Make way for others; returns seconds until it is time for that, if it comes to that."""
        if self._running or self._session.in_flight or self._is_resting:
            self._idle_since_s = None
            return None
        now = time.monotonic()
        if self._idle_since_s is None:
            self._idle_since_s = now
        if (left_s := self._idle_since_s + self._rest_after_s - now) > 0:
            return left_s
        self._sent.clear()
        self._is_resting = True
        self._session.rest()
        return None

    def _take(self, result: StepResult) -> None:
        """Use what a step brought back."""
        if not self._has_served:
            self._has_served = True
            self._on_first_step()
        now = time.perf_counter()
        sent = self._sent.take(result.step)
        self._pace.add(sent.rows, result, now - sent.sent_s)
        self.counters.add_step(sent.rows, sent.prompt_rows, self._session.stages, result.stages)
        self.on_step.tell(sent.record(result, now))
        rows, states = collections.defaultdict(list), collections.defaultdict(list)
        for row in result.rows:
            rows[row.sequence].append(row)
        for state in result.states:
            states[state.sequence].append(state)
        alone_s = now - sent.sent_s if sent.is_alone and not self._session.in_flight else None
        for pick, chunk in zip(sent.picks, sent.chunks, strict=True):
            running = pick.running
            if result.step not in running.state.in_flight:
                continue
            running.state.in_flight.remove(result.step)
            with self._ending_alone(running):
                running.generation.measurement.add_step(result, alone_s, bool(pick.prompt_rows))
                if chunk.sequence in result.faults:
                    raise result.faults[chunk.sequence]
                if chunk.wants_states:
                    self._pool(running, chunk, states[chunk.sequence])
                else:
                    self._extend(running, chunk, rows[chunk.sequence])

    @contextlib.contextmanager
    def _ending_alone(self, running: Running) -> Iterator[None]:
        """What goes wrong within ends one request; the other texts may be well."""
        try:
            yield
        except (ModelError, ClusterError) as error:
            self._fail(running, error)
        except Exception as error:
            about = self._session.about
            about["sequence"] = running.state.number
            log.exception("a request failed", extra=about)
            self._fail(running, NodeError(f"the coordinator failed at this request: {error!r}"))

    def _extend(self, running: Running, chunk: StepChunk, rows: list[RowLogits]) -> None:
        """Sample from a chunk's rows, one after the other, up to the first wrong guess."""
        state, generation = running.state, running.generation
        last = self._session.stages[-1].name
        if len(rows) != chunk.logit_rows:
            raise NodeError(f"{last} answered with {len(rows)} rows of {chunk.logit_rows}")
        if rows and running.opening:
            self._give_opening(running)
        for row in rows:
            if row.position in running.settled:
                continue
            if row.position != len(state.text) - 1:
                raise NodeError(f"{last} answered for position {row.position} out of turn")
            options = generation.options
            token = sample(
                *(row.candidates, options.sampling, row.position + 1),
                *(running.seen, running.generated),
            )
            state.confirmed = row.position + 1
            generation.measurement.add_token()
            if reason := running.end_before(token, self._model):
                self._finish(running, reason)
                return
            was_right = running.accept(token)
            if options.logprobs is not None:
                generation.logprobs.append(token_logprobs(row, token, options.logprobs))
            self._give(running, token)
            if reason := running.end_after(self._model):
                self._finish(running, reason)
                return
            if not was_right:
                self._session.supersede(state.number)
                state.in_flight.clear()
            if running.is_forced and not self._go_on_forced(running):
                return
            if not was_right:
                return
        state.confirmed = chunk.start + len(chunk.ids)

    def _pool(self, running: Running, chunk: StepChunk, states: list[RowState]) -> None:
        """Take the states of a chunk, and end the request with the last of them."""
        pooled, stop = running.generation.pooled, chunk.start + len(chunk.ids)
        assert pooled, "states are asked for where they are pooled"
        last = self._session.stages[-1].name
        if len(states) != chunk.logit_rows:
            raise NodeError(f"{last} answered with {len(states)} states of {chunk.logit_rows}")
        for position, state in enumerate(states, stop - chunk.logit_rows):
            if state.position != position:
                raise NodeError(f"{last} answered for position {state.position} out of turn")
            if len(state.values) != self._model.dim:
                raise NodeError(f"{last} answered with a state of {len(state.values)} numbers")
            pooled.add(state.values)
        running.state.confirmed = stop
        if stop == len(running.state.text):
            running.generation.measurement.add_token()
            self._finish(running, FinishReason.LENGTH)

    def _go_on_forced(self, running: Running) -> bool:
        """Extend a text by what follows for certain; whether it has not ended with that."""
        added, reason = running.add_forced(self._model)
        self._give_forced(running, added)
        if reason:
            self._finish(running, reason)
        return reason is None

    def _give_opening(self, running: Running) -> None:
        opening, running.opening = running.opening, []
        self._give_forced(running, opening)

    def _give_forced(self, running: Running, ids: Sequence[int]) -> None:
        for token in ids:
            running.generation.measurement.add_token()
            self._give(running, token)

    def _give(self, running: Running, token: int) -> None:
        """Have an id told, once the next steps are sent."""
        self.counters.generated_tokens += 1
        self._untold.append((running.generation, token))

    def _finish(self, running: Running, reason: FinishReason) -> None:
        self._leave(running, reason)
        if not self._residents.finish(running.state):
            self._session.end_sequence(running.state.number)

    def _fail(self, running: Running, error: Exception) -> None:
        """End a request with its error. Its caches are not kept: who knows what they hold."""
        self._leave(running, error)
        self._residents.drop(running.state)
        self._session.end_sequence(running.state.number)

    def _leave(self, running: Running, news: FinishReason | Exception) -> None:
        self._running.remove(running)
        self._requests.leave(running.generation)
        self._session.supersede(running.state.number)
        running.state.in_flight.clear()
        measured = running.generation.measurement
        self.counters.forced_tokens += measured.forced
        self.counters.right_guesses += measured.right_guesses
        self.counters.wrong_guesses += measured.wrong_guesses
        self._untold.append((running.generation, news))
