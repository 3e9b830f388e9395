"""A session: one coordinator's steps as they come to this stage, and what ends them.

Whatever ends the session (the stream's end, a broken stream, a lost next hop, a shutdown) frees
the caches of all its sequences, here and, by the streams breaking one after another, downstream.

Steps and ends are handled in order. What must not wait for them is handled on arrival: that chunks
are not wanted any more, and that the coordinator rests.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import (
    ClusterError,
    NodeError,
    NodeLost,
    SessionExpired,
    SessionYielded,
)
from pi_cluster.cluster.silence import Silence
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.stage import Stage
from pi_cluster.worker.stage.computing import Computing, StepComputer
from pi_cluster.worker.stage.outlet import Outlet
from pi_cluster.worker.stage.superseded import Superseded

_Item = tuple[int, pb.StepMessage]


class StageSession:
    """Receives on a thread of its own, computes on the caller's, so that the two overlap.

    Between them lies ``_inbox``, with room for so many steps; None in it wakes the computing thread
    to look whether the session has ended or failed. ``_turn`` guards ``_resting``, so that a
    session gives way or takes its next step, and never both.
    """

    def __init__(
        self,
        stage: Stage,
        on_rest: Callable[[], None],
        held_s: float | None = None,
        check_memory: Callable[[int], None] = lambda _: None,
    ) -> None:
        """``on_rest`` is called, on another thread, whenever the coordinator begins to rest.

        It ends when nobody has asked after it for ``held_s``, or with None need not be asked after.
        """
        self._superseded = Superseded()
        self._computer = StepComputer(stage, self._superseded, check_memory)
        self._on_rest = on_rest
        self._resting = False
        self._turn = threading.Lock()
        self._inbox: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(settings.MAX_QUEUED_STEPS)
        self._failure: ClusterError | None = None
        self._closing: Outlet | None = None
        self._silence = Silence()
        self._held_s = held_s

    @property
    def steps(self) -> int:
        """That were computed so far."""
        return self._computer.steps

    @property
    def rows(self) -> int:
        """Of all those steps."""
        return self._computer.rows

    @property
    def computing(self) -> Computing | None:
        """The step that it computes now."""
        return self._computer.present

    def fail(self, error: ClusterError) -> None:
        """End the session with an error, from any thread; the first error stands."""
        self._failure = self._failure or error
        self._inbox.put(None)
        if closing := self._closing:
            closing.hurry()

    def heard(self) -> None:
        """Somebody has asked after it."""
        self._silence.heard()

    def give_way(self) -> bool:
        """End the session in favour of another if its coordinator rests; whether it did."""
        with self._turn:
            if self._resting:
                self.fail(
                    SessionYielded(
                        "another coordinator took the pipeline while this one rested: ask again, "
                        "it begins anew"
                    )
                )
            return self._resting

    def run(self, messages: Iterator[pb.StepMessage], outlet: Outlet) -> None:
        """Serve the stream to its end. Raises the ``ClusterError`` that ended it early."""
        reader = threading.Thread(target=self._receive, args=(messages, outlet), daemon=True)
        reader.start()
        try:
            while self._serve_next(outlet):
                pass
            self._close(outlet)
        except ClusterError as error:
            outlet.abort(error)
            raise
        except BaseException:
            outlet.abort(NodeError("a stage failed; its log tells why"))
            raise
        finally:
            self._computer.clear()
            self._failure = self._failure or NodeError("the session has ended")
            self._room.release()

    def _close(self, outlet: Outlet) -> None:
        """Wait for the end of what follows, which may be frozen, unless the session fails."""
        self._closing, failure = outlet, self._failure
        try:
            if not failure:
                outlet.close()
        except ClusterError as error:
            failure = self._failure or error
        finally:
            self._closing = None  # the outlet knows the session: no circle, which would be garbage
        if failure:
            raise failure

    def _receive(self, messages: Iterator[pb.StepMessage], outlet: Outlet) -> None:
        try:
            for message in messages:
                self._accept(message, outlet)
                del message  # while the next one is awaited, it would keep megabytes
                if self._failure:
                    return
        except ClusterError as error:
            self.fail(error)
        except grpc.RpcError as broken:
            # gRPC keeps it with the call, and its traceback would keep the session and its stage.
            broken.__traceback__ = None
            self.fail(NodeLost("the hop before this one broke its stream"))
        finally:
            with self._turn:
                self._resting = False  # it ends of itself
            self._inbox.put(None)

    def _accept(self, message: pb.StepMessage, outlet: Outlet) -> None:
        match message.WhichOneof("message"):
            case "supersede":
                self._superseded.put(message.supersede)
                outlet.supersede(message.supersede)
            case "rest":
                with self._turn:
                    self._resting = True
                self._on_rest()
            case kind:
                if kind == "step":
                    with self._turn:
                        self._resting = False
                self._room.acquire()
                self._inbox.put((time.perf_counter_ns(), message))

    def _serve_next(self, outlet: Outlet) -> bool:
        """Handle one message; false at the end. Returning lets go of it before the next wait."""
        item = self._next()
        if item is not None:
            self._handle(item, outlet)
        return item is not None

    def _next(self) -> tuple[int, int, pb.StepMessage] | None:
        """When the stage began to wait, when the message came, and the message."""
        waiting_since = time.perf_counter_ns()
        item = self._awaited()
        if self._failure:
            raise self._failure
        if item is None:
            return None
        self._room.release()
        return waiting_since, *item

    def _awaited(self) -> _Item | None:
        """What comes next. Raises ``SessionExpired`` when nobody asks after the session any more.

        A coordinator that was unplugged or is asleep ends no stream, and would hold it forever.
        """
        while True:
            with contextlib.suppress(queue.Empty):
                return self._inbox.get(timeout=settings.ASK_EVERY_S)
            if self._held_s is not None and self._silence.look() > self._held_s:
                raise SessionExpired(
                    f"the nodes heard nothing of this session for {self._held_s:.0f} s "
                    "and ended it: ask again"
                )

    def _handle(self, item: tuple[int, int, pb.StepMessage], outlet: Outlet) -> None:
        waiting_since, arrived, message = item
        match message.WhichOneof("message"):
            case "step":
                self._computer.run(message.step, waiting_since, arrived, outlet)
            case "end":
                for sequence in message.end.sequence:
                    self._computer.end(sequence)
                if message.end.sequence:  # else it only made gRPC let go of the step before it
                    outlet.end_sequences(message.end)
            case other:
                raise NodeError(f"a session cannot go on with {other or 'an empty message'}")
