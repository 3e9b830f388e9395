"""`/cluster/v1/state`: how the cluster is, once or as it goes on."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from pi_cluster.server.http.bodies import json_response
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.native.state import ClusterState
from pi_cluster.server.native.state_view import StateView
from pi_cluster.server.native.state_watch import StateWatch

_FRESH_S = 1.0


def routes() -> list[BaseRoute]:
    """For an application whose state has a ``state_view`` and a ``state_watch``."""
    return [Route("/cluster/v1/state", _state, methods=["GET"])]


@operation(
    Operation("How the cluster is; with ?stream=1 as it goes on", None, ClusterState, ClusterState)
)
async def _state(request: Request) -> Response:
    state = request.app.state
    view: StateView = state.state_view
    watch: StateWatch = state.state_watch
    if request.query_params.get("stream", "0") not in ("", "0", "false"):
        return StreamingResponse(
            _events(watch),
            media_type="text/event-stream",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
        )
    return json_response(await view.now(_FRESH_S))


async def _events(watch: StateWatch) -> AsyncIterator[bytes]:
    async for state in watch.follow():
        yield b"data: " + state + b"\n\n"
