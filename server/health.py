"""Whether the server can answer: `/health` for whoever watches it, `/metrics` for Prometheus."""

import asyncio
import time

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.coordinator.client import PipelineClient
from pi_cluster.coordinator.pipeline.status import PipelineStatus

_FRESH_S = 5.0  # all nodes are asked at most so often, however many look


class Looks:
    """The pipeline as it was seen a few seconds ago; looking happens on a thread."""

    def __init__(self, client: PipelineClient) -> None:
        self._client = client
        self._lock = asyncio.Lock()
        self._seen_s = float("-inf")
        self._status: PipelineStatus | None = None
        self._problem = ""

    async def latest(self) -> tuple[PipelineStatus | None, str]:
        """How its stages are, or why they cannot be asked."""
        async with self._lock:
            if time.monotonic() - self._seen_s >= _FRESH_S:
                try:
                    self._status = await asyncio.to_thread(self._client.status)
                    self._problem = ""
                except ClusterError as error:
                    self._status, self._problem = None, str(error)
                self._seen_s = time.monotonic()
        return self._status, self._problem


def routes() -> list[BaseRoute]:
    """For an application whose state has ``looks`` and ``metrics``."""
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
    told = {
        "status": "ok" if status.is_well else "unreachable",
        "stages": len(status.stages),
        "stages_well": well,
    }
    return JSONResponse(told, 200 if status.is_well else 503)


async def _metrics(request: Request) -> Response:
    status, _ = await request.app.state.looks.latest()
    page = request.app.state.metrics.page(status)
    return Response(page, media_type=CONTENT_TYPE_LATEST)
