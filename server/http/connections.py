"""Connections that are watched: whoever is slow to ask, or does not read, is let go of."""

import asyncio
import time
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from pi_cluster.server.http.limits import Limits

_BUFFER_BYTES = 64 << 10  # what waits for a client here; the system keeps as much again


class Connection(H11Protocol):
    """uvicorn's, with the limits that it does not have.

    Nothing here is done for each piece of an answer: `look` is called once a second.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._limits = limits
        self._has_begun = False  # to send a request
        self._due_s = 0.0  # when a request must be there
        self._pending_bytes = 0  # at the last look
        self._moved_s = 0.0  # when the client last took something, or had nothing to take

    @property
    def is_serving(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come; when there are too many, the one goes that has been idle longest."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(_BUFFER_BYTES)
        now_s = time.monotonic()
        self._moved_s, self._due_s = now_s, now_s + self._limits.headers_s
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """A request comes in, in part or whole."""
        super().data_received(data)
        if not self.is_serving and not self._has_begun:
            self._has_begun, self._due_s = True, time.monotonic() + self._limits.headers_s

    def on_response_complete(self) -> None:
        """The next request may take its time to begin."""
        self._has_begun, self._due_s = False, time.monotonic() + self._limits.idle_s
        super().on_response_complete()

    def resume_writing(self) -> None:
        """The client has taken so much that more may follow, which `look` would not see."""
        self._moved_s = time.monotonic()
        super().resume_writing()

    def look(self, now_s: float) -> None:
        """End it if the client has been slow for too long."""
        pending_bytes = self.transport.get_write_buffer_size()
        if not pending_bytes or pending_bytes < self._pending_bytes:
            self._moved_s = now_s
        self._pending_bytes = pending_bytes
        if pending_bytes:
            if now_s - self._moved_s >= self._limits.unread_s:
                self.transport.abort()
        elif not self.is_serving and now_s >= self._due_s:
            self.transport.close()

    def _make_room(self) -> None:
        others = (one for one in self.connections if isinstance(one, Connection))
        idle = [one for one in others if not one.is_serving]
        # This one is idle too, and the last that is chosen.
        min(idle, key=lambda one: one._due_s - (one is not self)).transport.abort()
