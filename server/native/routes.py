"""The routes of pi-cluster's own commands and of the page, below ``/cluster/v1``."""

from starlette.routing import BaseRoute

from pi_cluster.server.native import asking, exclusive, state_routes


def routes() -> list[BaseRoute]:
    """All of them; they take and give JSON, streams of asking one value a line."""
    return [*asking.routes(), *exclusive.routes(), *state_routes.routes()]
