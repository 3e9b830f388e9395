"""The ASGI application: which route is whose."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from pi_cluster.coordinator.pooling import Pooling
from pi_cluster.server import health, openapi
from pi_cluster.server.asking.desk import Desk
from pi_cluster.server.asking.looks import Looks
from pi_cluster.server.asking.visit import Visit
from pi_cluster.server.http.failures import tell_failures
from pi_cluster.server.http.guard import Admission, Guard
from pi_cluster.server.journal import write_line
from pi_cluster.server.metrics import Metrics
from pi_cluster.server.native import routes as native
from pi_cluster.server.native.state_view import StateView
from pi_cluster.server.native.state_watch import StateWatch
from pi_cluster.server.ollama import routes as ollama
from pi_cluster.server.openai import routes as openai
from pi_cluster.server.page import routes as page


def make_app(
    desk: Desk, *, strict_model: bool = False, embeddings: Pooling | None = None
) -> Starlette:
    """The application that asks at ``desk``, which it closes at its end.

    OpenAI's clients may call the model as they like, unless ``strict_model``. ``embeddings`` says
    how the model makes vectors of texts; without, there are none.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            desk.close()

    app = Starlette(routes=_routes(strict_model), lifespan=lifespan)
    app.state.desk = desk
    app.state.embeddings = embeddings
    app.state.looks = Looks(desk.status)
    app.state.visits = ()
    app.state.state_view = StateView(desk, app.state.looks, lambda: app.state.visits)
    app.state.state_watch = StateWatch(app.state.state_view)
    desk.on_stop.add(app.state.state_watch.end)
    tell_failures(app)
    return app


def guarded(app: Starlette, admission: Admission) -> Guard:
    """The application behind a guard, with its log and its metrics."""

    def ended(visit: Visit) -> None:
        write_line(visit)
        metrics.ended(visit)

    guard = Guard(app, admission, ended)
    app.state.visits = guard.visits
    metrics = app.state.metrics = Metrics(guard.visits, lambda: app.state.desk.client)
    return guard


def _routes(strict_model: bool) -> list[BaseRoute]:
    return [
        *health.routes(),
        *openapi.routes(),
        *openai.routes(strict_model=strict_model),
        *ollama.routes(),
        *native.routes(),
        *page.routes(),
    ]
