"""The cluster's own routes, below ``/cluster/v1``."""

from starlette.routing import BaseRoute

from pi_cluster.server.native import asking, exclusive, state_routes


def routes() -> list[BaseRoute]:
    """All of them; they take and give JSON, streams one value a line."""
    return [*asking.routes(), *exclusive.routes(), *state_routes.routes()]
