"""Whether the server can answer: `/health` for whoever watches it, `/metrics` for Prometheus."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pi_cluster.server.asking.headcount import headcount


def routes() -> list[BaseRoute]:
    """For an application whose state has ``looks``, ``visits`` and ``metrics``."""
    return [
        Route("/health", _health, methods=["GET"]),
        Route("/metrics", _metrics, methods=["GET"]),
    ]


async def _health(request: Request) -> JSONResponse:
    # Everybody may see it: neither names nor addresses of nodes are told.
    status, _ = await request.app.state.looks.latest()
    if status is None:
        return JSONResponse({"status": "no pipeline"}, 503)
    well = sum(stage.is_well for stage in status.stages)
    state = request.app.state
    count = headcount(state.visits)
    told = {
        "status": "ok" if status.is_well else "unreachable",
        "stages": len(status.stages),
        "stages_well": well,
        "running": count.running,
        "waiting": count.waiting,
        "expected_wait_s": state.desk.client.occupancy.expected_wait_s,
    }
    return JSONResponse(told, 200 if status.is_well else 503)


async def _metrics(request: Request) -> Response:
    status, _ = await request.app.state.looks.latest()
    page = request.app.state.metrics.page(status, request.app.state.desk.card)
    return Response(page, media_type=CONTENT_TYPE_LATEST)
