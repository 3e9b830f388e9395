"""The ASGI application: which route is whose."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.http.failures import tell_failures
from pi_cluster.server.http.operation import Operation, operation
from pi_cluster.server.ollama import models as ollama_models
from pi_cluster.server.openai.routes import routes as openai_routes
from pi_cluster.server.openapi import document


def make_app(desk: Desk) -> Starlette:
    """The application that asks at ``desk``, which it closes at its end."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            desk.close()

    app = Starlette(routes=_routes(), lifespan=lifespan)
    app.state.desk = desk
    tell_failures(app)
    return app


def _routes() -> list[BaseRoute]:
    return [
        Route("/health", _health, methods=["GET"]),
        Route("/openapi.json", _openapi, methods=["GET"]),
        *openai_routes(),
        *ollama_models.routes(),
    ]


@operation(Operation("This document", statuses=()))
async def _openapi(request: Request) -> JSONResponse:
    return JSONResponse(document(request.app.routes))


@operation(Operation("Whether the server is there", statuses=()))
async def _health(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
