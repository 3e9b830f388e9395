"""The document of the whole API, made from the routes themselves and their types."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from starlette.routing import BaseRoute, Route

from pi_cluster.cluster.version import VERSION
from pi_cluster.server.http.operation import Operation

_TEMPLATE = "#/components/schemas/{name}"
_OPEN = {"/health", "/"}


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """An OpenAPI 3.1 document of all routes whose handlers say what they take and give."""
    described = list(_described(routes))
    types = {
        type_
        for _, operation in described
        for type_ in (operation.takes, operation.gives, operation.streams)
        if type_ is not None
    }
    ordered = sorted(types, key=lambda type_: type_.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_TEMPLATE)
    schema_of = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in described:
        path = paths.setdefault(route.path_format, {})
        for method in sorted((route.methods or set()) - {"HEAD"}):
            path[method.lower()] = _operation(route, operation, schema_of)
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
            operation = getattr(route.endpoint, "operation", None)
            if isinstance(operation, Operation):
                yield route, operation


def _operation(
    route: Route, operation: Operation, schema_of: dict[type, dict[str, Any]]
) -> dict[str, Any]:
    said: dict[str, Any] = {"summary": operation.summary, "responses": {}}
    if route.param_convertors:
        said["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.param_convertors
        ]
    if operation.takes:
        said["requestBody"] = {"required": True, "content": _json(schema_of[operation.takes])}
    content = _json(schema_of[operation.gives]) if operation.gives else {}
    if operation.streams:
        content |= {operation.stream_type: {"schema": {"type": "string"}}}
    if content:
        said["responses"]["200"] = {"description": "The answer", "content": content}
    for status in operation.statuses:
        said["responses"][str(status)] = {"description": "Why there is none"}
    said["responses"]["default"] = {"description": "Why there is none"}
    return said


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
