"""Who is let in: names, origins, keys and the size of bodies, before any route is looked for.

Raw ASGI: what is sent passes through as it is, but for the first message of a response.
A handler finds in ``request.state`` the ``asker`` (the key's name, or nothing) and the ``visit``.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pi_cluster.server.asking.visit import Visit, current_visit
from pi_cluster.server.http import cors
from pi_cluster.server.http.bodies import MAX_BODY_BYTES
from pi_cluster.server.http.failures import error_response, refusal_of
from pi_cluster.server.http.faults import log_fault
from pi_cluster.server.http.host_names import HostNames, is_same_origin, name_of
from pi_cluster.server.http.intake import Intake
from pi_cluster.server.http.limits import DEFAULTS, Limits
from pi_cluster.server.http.local import is_local
from pi_cluster.server.http.refusal import Refusal

_EVERYBODYS = "*"
_LOCAL = "(local)"  # who came through the file system; no key can have that name
_LONGEST_KEY = 200
_SHOWN_NAME = 100


class Keys(Protocol):
    """Who has which key."""

    @property
    def are_needed(self) -> bool:
        """Whether nobody is let in without one."""
        ...

    def asker(self, key: str) -> str | None:
        """The name of a key; None for one that is not good."""
        ...


class NoKeys:
    """Everybody is let in, whatever key they show."""

    are_needed = False

    def asker(self, key: str) -> str | None:  # noqa: ARG002
        """Nobody's."""
        return None


def is_public(path: str) -> bool:
    """Whether a path is the page's, or tells that the server is there: no secret, and no text."""
    return path in ("/", "/health") or path.startswith("/page/")


@dataclass(frozen=True, slots=True)
class Admission:
    """Whom a guard lets in beside this machine's own pages and programs."""

    hosts: Iterable[str] = ()
    origins: frozenset[str] = frozenset()
    """As browsers write them (``https://chat.example.org``), or ``*`` for all."""
    keys: Keys = field(default_factory=NoKeys)
    public: Callable[[str], bool] = is_public
    """Which paths are for everybody who may call: they tell no secret."""
    limits: Limits = DEFAULTS


class Guard:
    """The outermost application. Nothing that goes wrong within leaves it."""

    def __init__(
        self, app: ASGIApp, admission: Admission, on_end: Callable[[Visit], None] | None = None
    ) -> None:
        """``on_end`` is told of each request when it has ended."""
        self._app = app
        self._admission = admission
        self._hosts = HostNames(admission.hosts)
        self._intake = Intake(admission.limits)
        self._on_end = on_end
        self.visits: set[Visit] = set()
        """Those that are here now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        visit = Visit(scope["method"], scope["path"], client[0] if client else "")
        scope.setdefault("state", {}).update(visit=visit, asker="")
        current_visit.set(visit)
        self.visits.add(visit)
        try:
            await self._guarded(visit, scope, receive, send)
        except asyncio.CancelledError:
            visit.outcome = visit.outcome or "server_stopping"
            raise
        finally:
            self.visits.discard(visit)
            if self._on_end:
                self._on_end(visit)
            visit.let_go()

    async def _guarded(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        added: list[tuple[bytes, bytes]] = []

        def noted(message: Message) -> object:
            # No coroutine of its own: each piece of an answer passes here.
            if not visit.status:
                visit.status = message["status"]
                if added:
                    message["headers"] = [*message.get("headers", ()), *added]
            return send(message)

        sending: Send = noted  # type: ignore[assignment]  # it returns what `send` does
        try:
            origin = self._check_caller(scope, headers)
            if origin:
                added += cors.headers_for(origin)
                if cors.is_preflight(scope["method"], headers):
                    await cors.answer_preflight(headers, sending)
                    return
            visit.asker = scope["state"]["asker"] = self._check_key(scope, headers)
            _check_length(headers)
            with self._intake.of(receive) as taken:
                await self._app(scope, taken, sending)
        except Exception as error:
            refusal = refusal_of(error)
            log_fault(error)
            visit.outcome = refusal.code
            if not visit.status:
                await error_response(scope["path"], refusal)(scope, receive, sending)

    def _check_caller(self, scope: Scope, headers: dict[bytes, bytes]) -> str | None:
        """The foreign origin that may read the answer, if the request is from one."""
        if is_local(scope):
            return None
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._hosts.admits(host, scope["server"][0]):
            name = name_of(host)[:_SHOWN_NAME]
            raise Refusal(
                403,
                "foreign_host",
                f"this server is not known as {name!r}: call it by an address of its own, or have "
                f"it started with --allow-host {name}",
            )
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and not is_same_origin(origin, host):
            if not {origin, _EVERYBODYS} & self._admission.origins:
                raise _foreign(f"pages of {origin[:_SHOWN_NAME]}", origin[:_SHOWN_NAME])
            return origin
        if headers.get(b"sec-fetch-site") == b"cross-site" and not self._is_visited(scope, headers):
            raise _foreign("pages of other sites", "ORIGIN")
        return None

    def _is_visited(self, scope: Scope, headers: dict[bytes, bytes]) -> bool:
        """Whether somebody follows a link to a page of ours, of which the other sees nothing."""
        is_page = headers.get(b"sec-fetch-dest") == b"document"
        return is_page and scope["method"] == "GET" and self._admission.public(scope["path"])

    def _check_key(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        if is_local(scope):
            return _LOCAL
        if self._admission.public(scope["path"]):
            return ""
        keys = self._admission.keys
        shown = headers.get(b"x-api-key", b"")
        scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
        if not shown and scheme.lower() == b"bearer":
            shown = rest.strip()
        key = shown.decode("latin-1") if len(shown) <= _LONGEST_KEY else ""
        asker = keys.asker(key) if key else None
        if asker is None and keys.are_needed:
            problem = "this key is not one of this server's" if shown else "a key is needed here"
            raise Refusal(
                401,
                "invalid_api_key",
                f"{problem}: send one as `Authorization: Bearer KEY`; where the server runs, "
                "`pi-cluster key create NAME` makes one",
                {"www-authenticate": "Bearer"},
            )
        return asker or ""


def _foreign(who: str, origin: str) -> Refusal:
    return Refusal(
        403,
        "foreign_origin",
        f"{who} may not call this server: have it started with --allow-origin {origin}",
    )


def _check_length(headers: dict[bytes, bytes]) -> None:
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise Refusal(
            413, "body_too_large", f"the request has more than {MAX_BODY_BYTES >> 20} MiB"
        )
