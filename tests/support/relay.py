"""A relay between a client and a worker that writes down every byte that passes."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pi_cluster.cluster.wire.peer import split_address

_BLOCK = 1 << 16


class Relay:
    """Listens on a port of its own, and passes on what comes to ``target`` and back."""

    def __init__(self, target: str) -> None:
        self._target = split_address(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._seen = bytearray()
        self._flowing = _open_gate()
        self._held: list[threading.Event] = []
        self._open: list[socket.socket] = [self._listener]
        self.taken = 0
        """Connections so far."""
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def seen(self) -> bytes:
        """All bytes so far, of both directions as they came."""
        with self._lock:
            return bytes(self._seen)

    def hold(self) -> None:
        """Let nothing pass, as if a cable were out; connections stay, and new ones are taken."""
        self._flowing.clear()

    def hold_open_ones(self) -> None:
        """Let nothing pass over connections that are open now; over new ones everything does."""
        self._held.append(self._flowing)
        self._flowing.clear()
        self._flowing = _open_gate()

    def release(self) -> None:
        """Let pass what was held, and all that follows."""
        for gate in (*self._held, self._flowing):
            gate.set()

    def break_open_ones(self) -> None:
        """Break the connections that are open now, and go on listening."""
        with self._lock:
            ended, self._open = self._open[1:], self._open[:1]
        _break(ended)

    def close(self) -> None:
        """Break all connections."""
        self.release()
        with self._lock:
            ended, self._open = self._open, []
        _break(ended)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target, 5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                with self._lock:
                    self._open += [client, server]
                    self.taken += 1
                gate = self._flowing
                for ends in ((client, server, gate), (server, client, gate)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, gate: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BLOCK):
                with self._lock:
                    self._seen += data
                gate.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


def _break(connections: list[socket.socket]) -> None:
    for one in connections:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@contextmanager
def relaying(target: str) -> Iterator[Relay]:
    """A relay to an address while the block runs."""
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.close()
