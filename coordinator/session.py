"""The pipeline seen from its two ends: steps go in at the first stage, results come from the last.

Hidden states never pass through here; they go from worker to worker.
"""

import contextlib
import logging
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, NodeLost
from pi_cluster.cluster.log_fields import LogFields
from pi_cluster.cluster.who_am_i import who_am_i
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.failures import carried_error
from pi_cluster.cluster.wire.options import WIRE_VERSION
from pi_cluster.coordinator.in_flight import InFlight
from pi_cluster.coordinator.lost_nodes import cause_of, more_telling
from pi_cluster.coordinator.silent_nodes import OnNotice, Watch
from pi_cluster.coordinator.slow_stages import OnSlow
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.step_times import StepTimes
from pi_cluster.coordinator.steps import StepChunk, StepResult, chunk_on_wire, step_result
from pi_cluster.coordinator.strained_nodes import StrainedNodes, StrainNews
from pi_cluster.coordinator.wait_limits import USUAL_LIMITS, WaitLimits
from pi_cluster.protos import pi_cluster_pb2 as pb

log = logging.getLogger(__name__)

_UNBLOCKED_S = 1.0  # how long the other stream may take to tell the cause of a failure


class Session:
    """Exclusive use of a pipeline, from ``with`` to its end.

    Steps come back in the order they were submitted, except that those whose chunks were all
    superseded do not come back. When the session ends, every stage frees the caches of all its
    sequences. Raises ``PipelineBusy`` when another coordinator has it, ``NodeLost`` naming the node
    when one stops answering. Used by one thread; any other may call `wake`.
    """

    def __init__(
        self,
        stages: Sequence[StageAddress],
        epoch: int,
        vocab_size: int,
        dialer: Dialer,
        on_notice: OnNotice | None = None,
        on_slow: OnSlow | None = None,
        on_strain: Callable[[StrainNews], None] = lambda _: None,
        *,
        limits: WaitLimits = USUAL_LIMITS,
        times: StepTimes | None = None,
    ) -> None:
        """``on_notice`` is told, in sentences, who is silent or slow while the session waits.

        It is told too who is short of memory or hot, and ``on_strain`` as well, on any thread.
        ``limits`` say how long the session waits; who is slow is known by ``times``, to which those
        of its own steps are added.
        """
        self.stages = tuple(stages)
        self._dialer = dialer
        self._vocab_size = vocab_size
        self._steps = 0
        self._in_flight = InFlight()
        self._times = times or StepTimes()
        self._outbox: queue.SimpleQueue[pb.StepMessage | None] = queue.SimpleQueue()
        self._header = pb.SessionHeader(
            wire_version=WIRE_VERSION,
            epoch=epoch,
            session=secrets.token_hex(8),
            coordinator=who_am_i(),
            asked_after=True,
            held_ms=int(limits.held_s * 1000),
        )
        with contextlib.ExitStack() as on_failure:
            self._first = on_failure.enter_context(NodeClient(stages[0].peer, dialer))
            self._last = NodeClient(stages[-1].peer, dialer)
            on_failure.pop_all()
        self._inbox: queue.SimpleQueue[pb.StepResult | ClusterError | None] = queue.SimpleQueue()
        self._failure: ClusterError | None = None
        self._results: Any = None
        self._inlet: Any = None
        self._inlet_ended = threading.Event()
        self._given_up: NodeLost | None = None
        self._on_notice = on_notice or (lambda _: None)
        self._on_strain = on_strain
        self._strained = StrainedNodes(stages, self._tell_strain, self.wake)
        self._watch = Watch(
            *(stages, dialer, self._header.session, self._give_up),
            *(self._times, limits, on_notice, on_slow),
            on_reply=self._strained.heard,
        )

    def __enter__(self) -> Self:
        request = pb.CollectResultsRequest(
            wire_version=WIRE_VERSION, epoch=self._header.epoch, session=self._header.session
        )
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self._break_off)
            self._watch.begin()
            self._watch.expect(True)
            self._results = self._last.collect_results(request)
            threading.Thread(target=self._collect, name="results", daemon=True).start()
            # Only once results are awaited may steps begin, or the last stage knows no taker.
            while self._receive() is None:  # somebody has called `wake`
                pass
            self._outbox.put(pb.StepMessage(header=self._header))
            self._inlet = self._first.run_steps(self._messages())
            self._inlet.add_done_callback(self._inlet_done)
            self._watch.expect(False)
            on_failure.pop_all()
        log.info("a session begins", extra=self.about)
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        try:
            if kind is None and self._failure is None and not self.in_flight:
                self._end()
                log.info("the session has ended", extra=self.about)
        finally:
            # Steps still in flight, after Ctrl-C or an error, are not worth waiting for: every
            # stage frees its caches as soon as it learns that the streams are broken.
            self._break_off()

    @property
    def about(self) -> LogFields:
        """By what it is known in logs."""
        return LogFields(epoch=self._header.epoch, session=self._header.session, step=self._steps)

    @property
    def in_flight(self) -> int:
        """Steps that are to come back."""
        return len(self._in_flight)

    @property
    def short_of_memory(self) -> tuple[str, ...]:
        """Names of nodes that are short of memory; `wake` is called when that changes."""
        return self._strained.short_of_memory

    def submit(self, chunks: Sequence[StepChunk]) -> int:
        """Send a step; returns its number, which is larger than those before."""
        self._steps += 1
        ids = [token for chunk in chunks for token in chunk.ids]
        step = pb.Step(
            step=self._steps,
            chunks=[chunk_on_wire(chunk) for chunk in chunks],
            ids=pb.TokenIds(id=ids),
        )
        self._outbox.put(pb.StepMessage(step=step))
        self._in_flight.add(self._steps, {chunk.sequence for chunk in chunks}, len(ids))
        self._watch.expect(True)
        return self._steps

    def supersede(self, sequence: int) -> None:
        """Let every stage drop what is in flight of a sequence; it does not come back."""
        if self._in_flight.supersede(sequence):
            message = pb.Supersede(sequence=sequence, before_step=self._steps + 1)
            self._outbox.put(pb.StepMessage(supersede=message))
            self._watch.expect(bool(self._in_flight))

    def end_sequence(self, sequence: int) -> None:
        """Let every stage free a sequence, after the steps sent before."""
        self._outbox.put(pb.StepMessage(end=pb.EndSequences(sequence=[sequence])))

    def rest(self) -> None:
        """Keep the caches, but make way for another coordinator until the next step.

        If one comes, the session fails with ``SessionYielded``.
        """
        assert not self.in_flight, "a session rests when nothing is in flight"
        self._outbox.put(pb.StepMessage(rest=pb.Rest()))

    def next_result(self) -> StepResult:
        """Wait for the oldest step in flight."""
        assert self.in_flight, "nothing is in flight"
        while True:
            if (result := self.wait()) is not None:
                return result

    def wait(self, most_s: float | None = None) -> StepResult | None:
        """Wait for the next step to come back, or for `wake` or ``most_s`` to pass: None."""
        while True:
            message = self._receive(most_s)
            if message is None:
                return None
            if message.step not in self._in_flight:
                continue
            wanted, rows = self._in_flight.take(message.step, self.stages[-1].name)
            self._watch.expect(bool(self._in_flight))
            result = step_result(message, wanted, len(self.stages), self._vocab_size)
            self._times.note(rows, [stage.compute_s for stage in result.stages])
            return result

    def wake(self) -> None:
        """Let the thread in `wait`, or the next one to enter it, return; from any thread."""
        self._inbox.put(None)

    def _tell_strain(self, news: StrainNews) -> None:
        self._on_notice(news.said)
        self._on_strain(news)

    def _messages(self) -> Iterator[pb.StepMessage]:
        while (message := self._outbox.get()) is not None:
            yield message

    def _collect(self) -> None:
        """Take results as they come, on a thread of its own: Ctrl-C then meets a queue."""
        try:
            for result in self._results:
                self._watch.came()
                self._inbox.put(result)
            # A stream that broke may look to the last stage as if it had ended.
            self._inbox.put(NodeLost("the pipeline ended the session early"))
        except grpc.RpcError as error:
            last = self.stages[-1]
            self._inbox.put(carried_error(error, last.peer.label, last.node_id))

    def _receive(self, most_s: float | None = None) -> pb.StepResult | None:
        if self._failure is None:
            try:
                item = self._inbox.get(timeout=most_s)
            except queue.Empty:
                return None
            if not isinstance(item, ClusterError):
                return item
            self._failure = self._explain(item)
        raise self._failure

    def _inlet_done(self, call: grpc.Call) -> None:
        self._inlet_ended.set()
        if call.code() is not grpc.StatusCode.OK:
            # Else a coordinator that the first stage refuses would wait for results forever.
            self._results.cancel()

    def _explain(self, seen: ClusterError) -> ClusterError:
        """The failure that began at one stage arrives from both ends; find the cause."""
        if self._given_up:
            log.info("the session is given up: %s", self._given_up, extra=self.about)
            return self._given_up
        if self._inlet is not None and self._inlet_ended.wait(_UNBLOCKED_S):
            code = self._inlet.code()
            if self._given_up:  # meanwhile
                return self._given_up
            if code not in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
                first = self.stages[0]
                told = carried_error(self._inlet, first.peer.label, first.node_id)
                seen = more_telling(seen, told)
        cause = cause_of(seen, self.stages, self._dialer, self._watch)
        log.info("the session is lost: %s", cause, extra=self.about)
        return cause

    def _give_up(self, lost: NodeLost) -> None:
        """The watch has waited for long enough; whatever still waits returns."""
        self._given_up = lost
        self._inbox.put(lost)
        for call in (self._inlet, self._results):
            if call is not None:
                call.cancel()

    def _end(self) -> None:
        """Half-close, and wait until every stage has freed what it held."""
        self._outbox.put(None)
        self._watch.expect(True)
        try:
            self._inlet.result(timeout=settings.CALL_TIMEOUT_S)
        except (grpc.RpcError, grpc.FutureTimeoutError, grpc.FutureCancelledError):
            raise self._explain(NodeLost("the session does not end")) from None

    def _break_off(self) -> None:
        self._watch.close()
        self._outbox.put(None)
        for call in (self._inlet, self._results):
            if call is not None:
                call.cancel()
        self._first.close()
        self._last.close()
