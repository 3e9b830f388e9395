"""A server with short limits and raw sockets: whoever is slow is let go of, and nobody else."""

import asyncio
import contextlib
import gc
import http.client
import socket
import threading
import time
import weakref

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pi_cluster.server.asking.visit import current_visit
from pi_cluster.server.http.bodies import MAX_BODY_BYTES, read_json
from pi_cluster.server.http.failures import tell_failures
from pi_cluster.server.http.guard import Admission, Guard
from pi_cluster.server.http.intake import Intake
from pi_cluster.server.http.limits import DEFAULTS, Limits
from pi_cluster.server.http.refusal import Refusal
from pi_cluster.server.serving import Server, ServerSettings, listen
from tests.support.cluster_process import eventually

LIMITS = Limits(
    headers_s=0.4, body_s=0.5, unread_s=0.6, idle_s=0.5, connections=8, bodies_bytes=10 << 20
)
HEAD = b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
_PATIENCE_S = 20


class Reply:
    """What a request has asked for."""

    def waits(self):
        return False


class Served:
    """A server on a thread, and what became of its requests."""

    def __init__(self, limits=LIMITS):
        self.visits = []
        self.answers = weakref.WeakSet()
        self.endless = threading.Event()
        settings = ServerSettings(port=0, limits=limits)
        self.listener = listen(settings)
        self.address = self.listener.getsockname()
        routes = [
            Route("/v1/echo", self._echo, methods=["POST"]),
            Route("/v1/answered", self._answered, methods=["POST"]),
            Route("/v1/endless", self._endless),
            Route("/health", lambda _request: Response(b"well")),
        ]
        app = Starlette(routes=routes)
        tell_failures(app)
        guard = Guard(app, Admission(limits=limits), self.visits.append)
        self.server = Server(guard, limits)
        self._thread = threading.Thread(target=self.server.run, args=([self.listener],))

    async def _echo(self, request: Request) -> Response:
        return Response(str(await read_json(request, object)).encode()[:10])

    async def _answered(self, request: Request) -> Response:
        await read_json(request, object)
        reply, visit = Reply(), current_visit.get()
        self.answers.add(reply)
        visit.waits = reply.waits
        visit.answers.append(reply)
        return Response(b"well")

    async def _endless(self, _request: Request) -> StreamingResponse:
        async def parts():
            try:
                while True:
                    yield b"x" * 65_536
                    await asyncio.sleep(0)
            finally:
                self.endless.set()

        return StreamingResponse(parts())

    def connect(self):
        return socket.create_connection(self.address, _PATIENCE_S)

    def ask(self, method, path, body=None):
        with contextlib.closing(http.client.HTTPConnection(*self.address, _PATIENCE_S)) as asking:
            asking.request(method, path, body)
            answer = asking.getresponse()
            return answer.status, answer.read()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self.server.should_exit = True
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def served():
    with Served() as served:
        yield served
        assert served.ask("GET", "/health") == (200, b"well")


def rest_of(connection):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 16):
            data += part
    return data


def test_headers_that_do_not_come_end_the_connection(served):
    with served.connect() as begun, served.connect() as silent:
        begun.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        assert rest_of(begun) == b"" and rest_of(silent) == b""
    assert not served.visits


def test_a_connection_that_waits_for_the_next_request_holds_nothing_of_the_last():
    with Served(DEFAULTS) as served, contextlib.closing(_connection(served)) as asking:
        for _ in range(3):
            asking.request("POST", "/v1/answered", b"{}")
            assert asking.getresponse().read() == b"well"
        eventually(lambda: (gc.collect(), len(served.answers))[1], lambda count: count == 0)
        assert len(served.visits) == 3


def _connection(served):
    return http.client.HTTPConnection(*served.address, _PATIENCE_S)


def test_a_body_that_trickles_in_is_refused_with_a_sentence(served):
    with served.connect() as connection:
        connection.sendall(
            b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        )
        connection.sendall(b"[1")
        answer = rest_of(connection)
        assert answer.startswith(b"HTTP/1.1 408") and b"body_too_slow" in answer


def test_a_body_in_chunks_is_refused_where_it_becomes_too_large(served):
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    with served.connect() as connection:
        connection.sendall(
            b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(MAX_BODY_BYTES // 65_536 + 1):
                connection.sendall(chunk)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413")


def test_all_bodies_together_have_one_bound_and_room_comes_back():
    intake = Intake(LIMITS)
    half = {"type": "http.request", "body": b" " * (6 << 20), "more_body": True}

    async def receive():
        return half

    async def two_at_once():
        with intake.of(receive) as first:
            await first()
            with intake.of(receive) as second, pytest.raises(Refusal) as refused:
                await second()
        with intake.of(receive) as third:
            await third()
        return refused.value

    refusal = asyncio.run(two_at_once())
    assert (refusal.status, refusal.code) == (429, "too_many_bodies")


def test_a_client_that_does_not_read_is_let_go_of(served):
    with served.connect() as connection:
        connection.sendall(b"GET /v1/endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert served.endless.wait(_PATIENCE_S)
        assert served.ask("GET", "/health")[0] == 200


def test_a_client_that_reads_slowly_is_not(served):
    with served.connect() as connection:
        connection.sendall(b"GET /v1/endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until_s = time.monotonic() + 4 * LIMITS.unread_s
        while time.monotonic() < until_s:
            assert connection.recv(1 << 20)
            assert not served.endless.wait(LIMITS.unread_s / 20)
    assert served.endless.wait(_PATIENCE_S)


def test_a_connection_that_is_kept_may_rest_and_is_closed_after_that(served):
    with contextlib.closing(http.client.HTTPConnection(*served.address, _PATIENCE_S)) as kept:
        kept.connect()
        connection = kept.sock
        for _ in range(2):
            kept.request("GET", "/health")
            assert kept.getresponse().read() == b"well"
            assert kept.sock is connection
        assert rest_of(connection) == b""


def test_of_too_many_connections_the_one_goes_that_has_been_idle_longest(served):
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(served.connect()) for _ in range(LIMITS.connections)]
        assert served.ask("GET", "/health") == (200, b"well")
        assert rest_of(idle[0]) == b""


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"\r\n" * 50_000, b"GET /\r\n\r\n"])
def test_garbage_gets_an_answer_or_none(served, garbage):
    with served.connect() as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(garbage)
        assert rest_of(connection)[:12] in (b"HTTP/1.1 400", b"")
