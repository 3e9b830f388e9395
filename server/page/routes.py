"""The page's routes: the page itself, and its files. Everybody may read them, without a key."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pi_cluster.server.page.files import PageFile, PageFiles

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # HTML comes from DOMPurify or from nowhere
        "trusted-types dompurify",
    ]
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "vary": "accept, accept-encoding",
}
_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


def routes() -> list[BaseRoute]:
    """``/`` and ``/page/``."""
    files = PageFiles()
    return [
        Route("/", _root(files.index)),
        Route("/page/{digest}/{path:path}", _file(files)),
    ]


def _root(index: PageFile) -> Callable[[Request], Response]:
    # Not a coroutine: Starlette lets a thread pack the file.
    def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return _answer(request, index, _ASK_AGAIN)
        # Programs that look for an Ollama know it by this.
        return PlainTextResponse("Ollama is running", headers=_HEADERS)

    return root


def _file(files: PageFiles) -> Callable[[Request], Response]:
    def file(request: Request) -> Response:
        found = files.files.get(request.path_params["path"])
        if found is None or request.path_params["digest"] != files.digest:
            return PlainTextResponse(
                "the page has no such file (any more): load it again", 404, headers=_HEADERS
            )
        return _answer(request, found, _FOR_GOOD)

    return file


def _answer(request: Request, file: PageFile, caching: str) -> Response:
    headers = _HEADERS | {"etag": file.etag, "cache-control": caching}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = file.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        content = file.gzipped
        headers["content-encoding"] = "gzip"
    return Response(content, media_type=file.media_type, headers=headers)
