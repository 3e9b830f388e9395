"""A way to a worker that counts the bytes which reach it, and that can be cut."""

import contextlib
import socket
import threading
import time
from typing import Self

_BLOCK_BYTES = 64 << 10
_REST_S, _POLL_S = 0.5, 0.01


class Proxy:
    """Listens on this machine and passes everything on to ``target``, from ``with`` to its end."""

    def __init__(self, target: str, bytes_per_s: float) -> None:
        """``bytes_per_s`` bounds what goes to the target, over all connections."""
        self.arrived_bytes = 0
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._bytes_per_s = bytes_per_s
        self._due = 0.0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def address(self) -> str:
        """Where to call instead of the target."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def arrived_bytes_at_rest(self) -> int:
        """Once nothing has reached the target for half a second: how much has."""
        seen, since = self.arrived_bytes, time.monotonic()
        while time.monotonic() - since < _REST_S:
            time.sleep(_POLL_S)
            if self.arrived_bytes != seen:
                seen, since = self.arrived_bytes, time.monotonic()
        return seen

    def cut(self) -> None:
        """Break every connection; the next one is accepted again."""
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *failure: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._start(self._connect, near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        with near, far:
            with self._lock:
                self._open |= {near, far}
            back = self._start(self._pass_on, far, near, False)
            self._pass_on(near, far, True)
            back.join()
            with self._lock:
                self._open -= {near, far}

    def _pass_on(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BLOCK_BYTES):
                if counted:
                    self._take_time(len(data))
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _take_time(self, count: int) -> None:
        with self._lock:
            self.arrived_bytes += count
            self._due = max(self._due, time.monotonic()) + count / self._bytes_per_s
            due = self._due
        time.sleep(max(0.0, due - time.monotonic()))

    def _start(self, work: object, *words: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=words, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)
        return thread
