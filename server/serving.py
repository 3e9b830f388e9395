"""A server's process: its sockets, from its beginning to a signal."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from pi_cluster.cluster.errors import SystemFailure


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where a server listens, and whom it lets in."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 lets the system choose one."""


def listen(settings: ServerSettings) -> socket.socket:
    """A bound socket; raises ``SystemFailure`` where the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server(
            (settings.host, settings.port), family=family, backlog=256, reuse_port=False
        )
    except OSError as error:
        raise SystemFailure(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}: choose another "
            "with --host and --port"
        ) from error


def serve(app: ASGIApp, listeners: Sequence[socket.socket]) -> None:
    """Serve until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        app, http="h11", ws="none", loop="asyncio", lifespan="on", log_config=None, access_log=False
    )
    uvicorn.Server(config).run(sockets=list(listeners))
