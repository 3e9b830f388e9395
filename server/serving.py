"""A server's process: its sockets, from its beginning to a signal."""

import asyncio
import resource
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from pi_cluster.cluster.errors import SystemFailure
from pi_cluster.server.http.connections import Connection
from pi_cluster.server.http.limits import DEFAULTS, Limits

_LOOK_EVERY_S = 1.0
_SEND_BYTES = 64 << 10  # the system would grow it to megabytes, and a client seem to read on
_HOUR_S = 3_600.0
_WANTED_FILES = 4_096


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where a server listens, and whom it lets in."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 lets the system choose one."""
    max_waiting: int = 64
    """Requests that may wait for room in the caches; more are told to come back."""
    limits: Limits = DEFAULTS


def listen(settings: ServerSettings) -> socket.socket:
    """A bound socket; raises ``SystemFailure`` where the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server(
            (settings.host, settings.port), family=family, backlog=256, reuse_port=False
        )
    except OSError as error:
        raise SystemFailure(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}: choose another "
            "with --host and --port"
        ) from error
    # Connections inherit both.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
    unread_ms = int(settings.limits.unread_s * 1_000)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)
    return listener


class Server(uvicorn.Server):
    """uvicorn's server, with watched connections and an end that clients are told of."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits = DEFAULTS,
        tls: ssl.SSLContext | None = None,
        on_stop: Callable[[], None] | None = None,
        *,
        until: Callable[[], bool] | None = None,
        every_hour: Callable[[], None] | None = None,
        has_lifespan: bool = True,
    ) -> None:
        """``on_stop`` ends all answers, on a thread, when the server is to end.

        It ends by itself when ``until`` is true, which is asked every second on a thread.
        """
        super().__init__(
            uvicorn.Config(
                *(app, "127.0.0.1"),
                http=Connection,
                ws="none",
                loop="asyncio",
                lifespan="on" if has_lifespan else "off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=int(limits.idle_s) + 1,
                timeout_graceful_shutdown=max(1, int(limits.stop_s)),
            )
        )
        self._limits = limits
        self._tls = tls
        self._on_stop = on_stop
        self._until, self._every_hour = until, every_hour
        self._looking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve the sockets; those of files are as closed as the files, and need no TLS."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemFailure("the server could not start: its log has more")
        self.servers = [await self._served(listener) for listener in sockets or ()]
        self._looking = asyncio.create_task(self._look())
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in any more, end what is under way, and let it be told."""
        for server in self.servers:
            server.close()
        if self._on_stop:
            with suppress(TimeoutError):
                ending = asyncio.to_thread(self._on_stop)
                await asyncio.wait_for(ending, self._limits.stop_s)
        await super().shutdown(sockets)
        if self._looking:
            self._looking.cancel()

    async def _served(self, listener: socket.socket) -> asyncio.Server:
        tls = None if listener.family == socket.AF_UNIX else self._tls
        patience_s = self._limits.headers_s if tls else None
        return await asyncio.get_running_loop().create_server(
            *(self._connection,),
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=patience_s,
            ssl_shutdown_timeout=patience_s,
        )

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, self._limits)

    async def _look(self) -> None:
        limits = self._limits
        shortest_s = min(limits.headers_s, limits.unread_s, limits.idle_s)
        next_hour_s, until = time.monotonic() + _HOUR_S, self._until
        while True:
            await asyncio.sleep(min(_LOOK_EVERY_S, shortest_s / 4))
            now_s = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look(now_s)
            if until is not None and await asyncio.to_thread(until):
                self.should_exit = True
            if self._every_hour and now_s >= next_hour_s:
                next_hour_s = now_s + _HOUR_S
                await asyncio.to_thread(self._every_hour)


def serve(
    app: ASGIApp,
    listeners: Sequence[socket.socket],
    limits: Limits = DEFAULTS,
    tls: ssl.SSLContext | None = None,
    on_stop: Callable[[], None] | None = None,
    *,
    until: Callable[[], bool] | None = None,
    every_hour: Callable[[], None] | None = None,
    has_lifespan: bool = True,
) -> None:
    """Serve until SIGINT or SIGTERM, or as ``Server`` is told."""
    _allow_files()
    server = Server(
        *(app, limits, tls, on_stop),
        until=until,
        every_hour=every_hour,
        has_lifespan=has_lifespan,
    )
    server.run(sockets=list(listeners))


def _allow_files() -> None:
    """Have room for as many connections as are let in, and what a pipeline needs beside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, _WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
