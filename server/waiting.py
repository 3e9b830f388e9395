"""A server whose pipeline is not up yet: it says so, and waits."""

import socket
import ssl
from collections.abc import Callable, Sequence

from starlette.types import Receive, Scope, Send

from pi_cluster.cluster.errors import StateError
from pi_cluster.server.http.failures import error_response, refusal_of
from pi_cluster.server.http.guard import Admission, Guard
from pi_cluster.server.journal import write_line
from pi_cluster.server.serving import serve


def serve_until(
    is_up: Callable[[], bool],
    why: str,
    listeners: Sequence[socket.socket],
    admission: Admission,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Answer everything with 503 and the sentence ``why``, until ``is_up`` or a signal."""

    async def not_yet(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            response = error_response(scope["path"], refusal_of(StateError(why)))
            await response(scope, receive, send)

    # The sockets are closed at its end, and what listens behind them goes on.
    again = [listener.dup() for listener in listeners]
    app = Guard(not_yet, admission, write_line)
    serve(app, again, admission.limits, tls, until=is_up, has_lifespan=False)
