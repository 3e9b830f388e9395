"""Steps on their way out and back: the texts that run take turns in them."""

import collections
import time
from collections.abc import Callable, Sequence

from pi_cluster.coordinator.scheduling.batching import may_be_guessed, next_picks
from pi_cluster.coordinator.scheduling.counters import Counters
from pi_cluster.coordinator.scheduling.growing import Growing
from pi_cluster.coordinator.scheduling.pace import Pace
from pi_cluster.coordinator.scheduling.residents import Residents
from pi_cluster.coordinator.scheduling.running import GuessFailed, Pick, Running
from pi_cluster.coordinator.scheduling.sent_steps import SentStep, SentSteps, StepRecord
from pi_cluster.coordinator.scheduling.spacing import Spacing
from pi_cluster.coordinator.scheduling.texts import Texts
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.steps import StepResult
from pi_cluster.transformer.errors import ModelError


class Stepping:
    """Sends what texts have to send, and hands on what comes back. For the scheduler's thread."""

    def __init__(
        self,
        session: Session,
        max_step_rows: int,
        residents: Residents,
        texts: Texts,
        growing: Growing,
        counters: Counters,
        on_step: Callable[[StepRecord], None],
    ) -> None:
        """``on_step`` is told of each step that came back."""
        self._session = session
        self._residents = residents
        self._texts = texts
        self._growing = growing
        self._counters = counters
        self._on_step = on_step
        self._pace = Pace(len(session.stages), max_step_rows)
        self._spacing = Spacing()
        self._sent = SentSteps()
        self.is_resting = True
        """Whether nothing was sent since the session last made way, or at all."""

    def begin(self, running: Running) -> None:
        """A text that was let in begins."""
        with self._texts.ending_alone(running):
            self._growing.begin(running)
        if running.state.prefix_of and running in self._texts.running:
            # At once: the sequence that it copies may move on or go.
            self._send([running.first_pick(self._pace)])

    def send_all(self) -> None:
        """Send steps until all stages have work, or nothing is left to send."""
        while picks := self._next_picks():
            self._send(picks)

    def guesses_wait_s(self) -> float | None:
        """How long guesses still have to wait that might be sent then; None if there are none."""
        wait_s = self._spacing.wait_s(time.perf_counter())
        return wait_s if wait_s and may_be_guessed(self._texts.running) else None

    def take(self, result: StepResult) -> None:
        """Use what a step brought back."""
        now = time.perf_counter()
        sent = self._sent.take(result.step)
        self._pace.add(sent.rows, result, now - sent.sent_s)
        self._counters.add_step(sent.rows, sent.prompt_rows, self._session.stages, result.stages)
        self._on_step(sent.record(result, now))
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
            with self._texts.ending_alone(running):
                running.generation.measurement.add_step(result, alone_s, bool(pick.prompt_rows))
                if chunk.sequence in result.faults:
                    raise result.faults[chunk.sequence]
                if chunk.wants_states:
                    self._growing.pool(running, chunk, states[chunk.sequence])
                elif running.generation.scored:
                    self._growing.score(running, chunk, rows[chunk.sequence])
                else:
                    self._growing.extend(running, chunk, rows[chunk.sequence])

    def rest(self) -> None:
        """Make way for other coordinators, while nothing is in flight."""
        self._sent.clear()
        self.is_resting = True
        self._session.rest()

    def _next_picks(self) -> Sequence[Pick]:
        while True:
            try:
                return next_picks(
                    *(self._texts.running, self._pace, self._session.in_flight),
                    may_guess=not self._spacing.wait_s(time.perf_counter()),
                )
            except GuessFailed as failed:
                with self._texts.ending_alone(failed.running):
                    raise failed.__cause__ or failed from None

    def _send(self, picks: Sequence[Pick]) -> None:
        picks = [pick for pick in picks if self._may_go(pick)]
        if not picks:
            return
        chunks = [pick.running.take(pick.rows) for pick in picks]
        is_alone = not self._session.in_flight
        now = time.perf_counter()
        step = self._session.submit(chunks)
        sent = SentStep(picks, chunks, now, is_alone)
        self._sent.add(step, sent)
        self._spacing.sent(now, self._pace.expected_s(sent.rows), self._session.in_flight - 1)
        self.is_resting = False
        for pick in picks:
            pick.running.sent(step, now)

    def _may_go(self, pick: Pick) -> bool:
        """Whether the stages will take a chunk; a request that would break their rules ends."""
        try:
            self._residents.check(pick.running.state, pick.rows)
        except ModelError as error:
            self._texts.fail(pick.running, error)
            return False
        return True
