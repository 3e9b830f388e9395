"""Where a session's work goes from this stage: on to the next hop, or back to the coordinator."""

import functools
import queue
from collections.abc import Callable, Iterator
from typing import Protocol

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, NodeLost
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.failures import carried_error, restored_errors
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.pulse import Pulse
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.allocator import LARGE_BYTES

OnFailure = Callable[[ClusterError], None]


class Outlet(Protocol):
    """The way out of a stage, for one session."""

    def send(self, message: pb.Step | pb.StepResult) -> None:
        """Pass on what this stage has computed: hidden states, or the last stage's logits."""
        ...

    def end_sequences(self, end: pb.EndSequences) -> None:
        """Pass on that sequences have ended."""
        ...

    def supersede(self, mark: pb.Supersede) -> None:
        """Pass on that chunks are not wanted any more; called from another thread than the rest."""
        ...

    @property
    def silent_s(self) -> float:
        """How long whoever follows has not answered this node."""
        ...

    def close(self) -> None:
        """End cleanly, and wait until all that follows has ended too."""
        ...

    def abort(self, error: ClusterError) -> None:
        """Break off; what follows frees what it holds."""
        ...

    def hurry(self) -> None:
        """Let a `close` that waits fail at once. From any thread, and it waits for nothing."""
        ...


class NextHop:
    """A stream of steps to the next worker, open for one session."""

    def __init__(
        self, peer: Peer, dialer: Dialer, header: pb.SessionHeader, on_failure: OnFailure
    ) -> None:
        self._name = peer.label
        self._node_id = peer.node_id
        self._explain = functools.partial(dialer.explain, peer)
        self._on_failure = on_failure
        self._queue: queue.SimpleQueue[pb.StepMessage | None] = queue.SimpleQueue()
        self._queue.put(pb.StepMessage(header=header))
        self._channel = dialer.connect(peer)
        self._call = rpc.WorkerStub(self._channel).RunSteps.future(self._messages())
        self._call.add_done_callback(self._ended)
        self._pulse = Pulse(peer, dialer, header.session)

    def send(self, message: pb.Step | pb.StepResult) -> None:
        assert isinstance(message, pb.Step), "only the last stage has results"
        self._queue.put(pb.StepMessage(step=message))
        if len(message.hidden) >= LARGE_BYTES:
            # gRPC keeps what it sent last, twice, until something follows: here an end of nothing.
            self._queue.put(pb.StepMessage(end=pb.EndSequences()))

    def end_sequences(self, end: pb.EndSequences) -> None:
        self._queue.put(pb.StepMessage(end=end))

    def supersede(self, mark: pb.Supersede) -> None:
        self._queue.put(pb.StepMessage(supersede=mark))

    @property
    def silent_s(self) -> float:
        return self._pulse.silent_s

    def close(self) -> None:
        self._queue.put(None)
        try:
            with restored_errors(self._name, self._explain):
                self._call.result(timeout=settings.CALL_TIMEOUT_S)
        except grpc.FutureTimeoutError:
            raise NodeLost(f"{self._name} does not end its session", [self._node_id]) from None
        except grpc.FutureCancelledError:
            raise NodeLost(f"the session was broken off before {self._name} had ended it") from None
        finally:
            self._pulse.close()
            self._channel.close()

    def abort(self, error: ClusterError) -> None:  # noqa: ARG002
        self._queue.put(None)
        self._pulse.close()
        self._call.cancel()
        self._channel.close()

    def hurry(self) -> None:
        # Closing the channel waits for the thread that tells how its calls ended: it may be ours.
        self._call.cancel()

    def _messages(self) -> Iterator[pb.StepMessage]:
        while (message := self._queue.get()) is not None:
            yield message

    def _ended(self, call: grpc.Call) -> None:
        if call.code() not in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
            self._on_failure(carried_error(call, self._name, self._node_id))


class ResultSink:
    """Results of one session, waiting for the coordinator's CollectResults call to take them."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[pb.StepResult | ClusterError | None] = queue.SimpleQueue()
        self._on_failure: OnFailure | None = None

    def attach(self, on_failure: OnFailure) -> None:
        """Tell who is to be told when the coordinator stops collecting."""
        self._on_failure = on_failure

    def send(self, message: pb.Step | pb.StepResult) -> None:
        assert isinstance(message, pb.StepResult), "the last stage has no next hop"
        self._queue.put(message)

    def end_sequences(self, end: pb.EndSequences) -> None:
        pass  # the coordinator said so itself

    def supersede(self, mark: pb.Supersede) -> None:
        pass  # those who waited for it are the coordinator itself

    @property
    def silent_s(self) -> float:
        return 0.0  # those who follow are the coordinator, which asks this node itself

    def close(self) -> None:
        self._queue.put(None)

    def abort(self, error: ClusterError) -> None:
        self._queue.put(error)

    def hurry(self) -> None:
        pass  # it never waits

    def abandon(self) -> None:
        """The coordinator's call has ended; harmless once the session has ended too."""
        self._queue.put(None)
        if self._on_failure:
            self._on_failure(NodeLost("the coordinator does not collect results any more"))

    def results(self) -> Iterator[pb.StepResult]:
        """Results as they come. Raises the ``ClusterError`` that broke the session."""
        while (item := self._queue.get()) is not None:
            if isinstance(item, ClusterError):
                raise item
            yield item
