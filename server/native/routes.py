"""The routes of pi-cluster's own commands, below ``/cluster/v1``."""

from starlette.routing import BaseRoute

from pi_cluster.server.native import asking, exclusive


def routes() -> list[BaseRoute]:
    """All of them; they take and give JSON, streams one value a line."""
    return [*asking.routes(), *exclusive.routes()]
