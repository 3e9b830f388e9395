"""What strangers, broken clients and the impatient get from a server, which goes on answering."""

import http.client
import json
import signal
import socket
import time
from contextlib import ExitStack

import pytest

from tests.support.cluster_process import eventually
from tests.support.servers import serving

SECRET = "my-secret-diary"
MANY = 300
_PATIENCE_S = 30


@pytest.fixture(scope="module")
def up(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        yield cluster


@pytest.fixture(scope="module")
def server(up):
    with serving(up, "--allow-host", "chat.example.org") as server:
        yield server


@pytest.fixture(autouse=True)
def _goes_on_answering(server):
    yield
    assert ask(server, "GET", "/health")[0] == 200
    assert SECRET not in server.running.error_text


def ask(server, method, path, headers=None, body=None):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_PATIENCE_S)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def connect(server):
    return socket.create_connection((server.host, server.port), _PATIENCE_S)


def all_of(connection):
    """What comes until the server ends the connection; it may do so rudely."""
    data = b""
    try:
        while part := connection.recv(1 << 16):
            data += part
    except ConnectionResetError:
        pass
    return data


def test_names_and_pages_of_strangers_are_refused_and_named_ones_let_in(server):
    for headers, code in [
        ({"Host": "evil.example"}, "foreign_host"),
        ({"Origin": "https://evil.example"}, "foreign_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "foreign_origin"),
    ]:
        status, body = ask(server, "GET", f"/v1/models?q={SECRET}", headers)
        assert (status, json.loads(body)["error"]["code"]) == (403, code)
    assert ask(server, "GET", "/health", {"Host": "chat.example.org"})[0] == 200
    eventually(lambda: server.running.error_text, lambda log: "403" in log)


def test_garbage_ends_its_connection_and_nothing_else(server):
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"A" * 100_000, b"\0" * 99):
        with connect(server) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            assert all_of(connection)[:12] in (b"HTTP/1.1 400", b"")


def test_headers_that_never_end_are_given_up(server):
    with connect(server) as slow, connect(server) as silent:
        slow.sendall(f"GET /{SECRET} HTTP/1.1\r\nHost: localhost\r\nX-A: ".encode())
        assert all_of(slow) == b""
        assert all_of(silent) == b""


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(server):
    with connect(server) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 8388609\r\n\r\n" + SECRET.encode()
        )
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413")


def test_idle_connections_keep_nobody_out(server):
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(connect(server))
        assert ask(server, "GET", "/health")[0] == 200


def test_a_key_is_needed_once_there_is_one_and_a_running_server_follows(server, up):
    assert ask(server, "GET", "/metrics")[0] == 200
    created = up.run("key", "create", "phone")
    key = created.out.strip()
    assert ask(server, "GET", "/metrics")[0] == 401
    assert ask(server, "GET", "/metrics", {"x-api-key": key[:-1] + "?"})[0] == 401
    for headers in ({"Authorization": f"Bearer {key}"}, {"x-api-key": key}):
        status, page = ask(server, "GET", "/metrics", headers)
        assert status == 200 and b"pi_cluster_node_up{" in page
    assert "phone" in up.run("key", "list").out
    assert up.run("key", "revoke", "phone").code == 0
    assert ask(server, "GET", "/metrics")[0] == 200
    assert key not in server.running.error_text
    assert " phone GET /metrics" not in server.running.error_text  # every few seconds, for ever


def test_nobody_serves_others_by_accident(up, server):
    refused = up.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.code == 1 and "key create NAME" in refused.err and "--insecure" in refused.err


def test_a_server_that_is_told_to_end_does_so_at_once(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        with serving(cluster) as server, connect(server) as idle:
            began_s = time.monotonic()
            server.running.send(signal.SIGTERM)
            server.running.process.wait(_PATIENCE_S)
            assert all_of(idle) == b"" and time.monotonic() - began_s < _PATIENCE_S
