"""The document of the whole API, made from the routes themselves and their types."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pi_cluster.cluster.version import VERSION
from pi_cluster.server.http.bodies import json_response
from pi_cluster.server.http.operation import Operation, operation

_TEMPLATE = "#/components/schemas/{name}"


def routes() -> list[BaseRoute]:
    """The document's own."""
    return [Route("/openapi.json", _tell, methods=["GET"])]


@operation(Operation("This document", statuses=()))
async def _tell(request: Request) -> Response:
    return json_response(document(request.app.routes))


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of all routes whose handlers say what they take and give."""
    described = list(_described(routes))
    types = {
        type_
        for _, said in described
        for type_ in (said.takes, said.gives, said.streams)
        if type_ is not None
    }
    ordered = sorted(types, key=lambda type_: type_.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_TEMPLATE)
    schema_of = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route, said in described:
        path = paths.setdefault(route.path_format, {})
        for method in sorted((route.methods or set()) - {"HEAD"}):
            path[method.lower()] = _told(route, said, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "pi-cluster", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _described(routes: Iterable[BaseRoute]) -> Iterator[tuple[Route, Operation]]:
    for route in routes:
        if isinstance(route, Route):
            said = getattr(route.endpoint, "operation", None)
            if isinstance(said, Operation):
                yield route, said


def _told(
    route: Route, operation: Operation, schema_of: dict[type, dict[str, Any]]
) -> dict[str, Any]:
    told: dict[str, Any] = {"summary": operation.summary}
    if route.param_convertors:
        told["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.param_convertors
        ]
    if operation.takes:
        told["requestBody"] = {"required": True, "content": _json(schema_of[operation.takes])}
    content = _json(schema_of[operation.gives]) if operation.gives else {}
    if operation.streams:
        content |= {operation.stream_type: {"schema": {"type": "string"}}}
    refused = {"description": "Why there is no answer"}
    answered = {"description": "The answer", **({"content": content} if content else {})}
    told["responses"] = {
        "200": answered,
        **{str(status): refused for status in operation.statuses},
        "default": refused,
    }
    return told


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
