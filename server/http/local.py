"""Who came through the file system instead of the network."""

from starlette.types import Scope


def is_local(scope: Scope) -> bool:
    """Whether a request came by the server's unix socket, which only its user may open."""
    server = scope.get("server")
    return server is not None and server[1] is None
