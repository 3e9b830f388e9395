"""Whether a node is there, asked again and again beside whatever else it does for us."""

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.silence import Silence
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.cluster.wire.probing import refuse
from pi_cluster.protos import pi_cluster_pb2 as pb

_UNHEARD = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)


_SLACK_S = settings.ASK_EVERY_S / 2
_REFUSED_S = 0.25  # a host that runs refuses within a round trip


class Pulse:
    """Asks one node about a session, on a thread of its own, until it is closed.

    What is not answered in time is left waiting, and the next question goes over a connection of
    its own: after a gap an old one may hang for as long again, and a node that is merely slow is
    heard when it answers at last. A node that answers with an error is there too.
    """

    def __init__(
        self,
        peer: Peer,
        dialer: Dialer,
        session: str,
        on_reply: Callable[[pb.PingReply], None] = lambda _: None,
    ) -> None:
        """Asking begins at once. ``on_reply`` is given each answer, on another thread."""
        self._on_reply = on_reply
        self._peer = peer
        self._dialer = dialer
        self._session = session
        self._silence = Silence()
        self._reply = pb.PingReply()
        self._client: NodeClient | None = None
        self._newest: Any = None
        self._asked_at = 0.0
        self._waiting: list[tuple[NodeClient, Any]] = []
        self._closing = threading.Event()
        self._waking = threading.Event()
        self._was_heard = self._is_broken = self._is_gone = False
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    @property
    def silent_s(self) -> float:
        """How long the node has not answered."""
        return self._silence.look()

    @property
    def reply(self) -> pb.PingReply:
        """What it answered last; empty as long as it did not."""
        return self._reply

    @property
    def next_silent_s(self) -> float:
        """How long, at its last answer, whoever follows it had not answered the node itself."""
        return self._reply.next_silent_ms / 1000

    @property
    def is_gone(self) -> bool:
        """Whether the node has ended: its connection broke, and nobody listens there any more."""
        return self._is_gone

    def close(self) -> None:
        """Ask no more; from any thread, without waiting."""
        self._closing.set()
        self._waking.set()

    def _run(self) -> None:
        try:
            while True:
                if self._is_due():
                    self._let_go()
                    self._ask()
                self._waking.wait(settings.ASK_EVERY_S)
                self._waking.clear()
                if self._closing.is_set():
                    return
                self._silence.look()
                if self._is_broken:  # an ending process may listen for longer than it is connected
                    self._is_gone = refuse(self._peer.addresses, _REFUSED_S)
        finally:
            for client, _ in self._waiting:
                client.close()
            if self._client:
                self._client.close()

    def _is_due(self) -> bool:
        """Whether the newest question has had its time."""
        return (
            self._newest is None
            or self._newest.done()
            or time.monotonic() - self._asked_at > settings.ASK_AGAIN_S - _SLACK_S
        )

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        try:
            if self._client is None:
                self._client = NodeClient(self._peer, self._dialer, apart=True)
        except ClusterError:
            self._newest = None
            return
        self._newest = self._client.ping(self._session, settings.ANSWER_TIMEOUT_S)
        self._newest.add_done_callback(self._answered)

    def _let_go(self) -> None:
        """Of connections whose last question was in vain; one that still waits is kept for now."""
        if self._client and self._newest and not _was_heard(self._newest):
            self._waiting.append((self._client, self._newest))
            self._client = None
        for client, _ in [pair for pair in self._waiting if pair[1].done()]:
            client.close()
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]

    def _answered(self, call: Any) -> None:
        if _was_heard(call):
            if call.code() is grpc.StatusCode.OK:
                self._reply = call.result()
                self._on_reply(self._reply)
            self._silence.heard()
            self._was_heard, self._is_broken, self._is_gone = True, False, False
        elif call.code() is grpc.StatusCode.UNAVAILABLE and self._was_heard and not self._is_broken:
            self._is_broken = True
            self._waking.set()


def _was_heard(call: Any) -> bool:
    return call.done() and call.code() not in _UNHEARD
