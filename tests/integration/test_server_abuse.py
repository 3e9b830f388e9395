"""What strangers, broken clients and the impatient get from a server, which goes on answering."""

import http.client
import json
import resource
import signal
import socket
import ssl
import time
from contextlib import ExitStack

import openai
import pytest

from tests.support.cluster_process import eventually
from tests.support.servers import serving

SECRET = "my-secret-diary"
MANY = 700  # more than a server keeps open; see server/http/limits.py
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
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * MANY)), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
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


def test_a_server_that_waits_says_so_and_serves_once_a_pipeline_is_up(make_cluster):
    with make_cluster() as cluster:
        refused = cluster.run("serve", "--port", "0")
        assert refused.code == 1 and "no pipeline is up" in refused.err
        with serving(cluster, "--wait-for-up") as server:
            status, body = ask(server, "POST", "/api/chat")
            assert status == 503 and "no pipeline is up" in json.loads(body)["error"]
            assert ask(server, "GET", "/health", {"Host": "evil.example"})[0] == 403
            cluster.up("--local", "1")
            eventually(lambda: ask(server, "GET", "/health")[0], lambda status: status == 200)


def test_texts_are_kept_where_that_is_asked_for_and_nowhere_else(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        kept = cluster.folder / "texts.jsonl"
        with serving(cluster, "--log-prompts", str(kept)) as server:
            asked = {"model": "x", "prompt": SECRET, "max_tokens": 3}
            status, body = ask(
                *(server, "POST", "/v1/completions", {"Content-Type": "application/json"}),
                json.dumps(asked),
            )
            assert status == 200, body
            line = json.loads(kept.read_text())
            assert line["prompt"] == SECRET and line["answer"]
            assert kept.stat().st_mode & 0o777 == 0o600
            log = eventually(lambda: server.running.error_text, lambda log: "completions" in log)
            assert SECRET not in log and "3 tokens length" in log
            metrics = ask(server, "GET", "/metrics")[1].decode()
            assert 'requests_total{api="openai",finish_reason="length"} 1.0' in metrics
            assert "pi_cluster_generated_tokens_total 3.0" in metrics
            assert SECRET not in metrics


def test_a_stream_that_runs_when_the_server_ends_is_told_so(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        with serving(cluster) as server:
            asked = {"model": "x", "prompt": "Once", "max_tokens": 400, "stream": True}
            connection = http.client.HTTPConnection(server.host, server.port, timeout=_PATIENCE_S)
            connection.request("POST", "/v1/completions", json.dumps(asked))
            answer = connection.getresponse()
            first = answer.read(20)
            server.running.send(signal.SIGTERM)
            rest = first + answer.read()
            assert b'"error"' in rest and b"server_stopping" in rest
            server.running.process.wait(_PATIENCE_S)
            connection.close()


def test_https_is_trusted_by_whoever_trusts_the_servers_own_authority(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        with serving(cluster, "--tls") as server:
            assert server.url.startswith("https://")
            folder = cluster.folder / "state" / "pi-cluster" / cluster.name / "server"
            trusted = folder / "web-authority" / "authority.pem"
            assert str(trusted) in server.running.error_text
            context = ssl.create_default_context(cafile=str(trusted))
            connection = http.client.HTTPSConnection(
                server.host, server.port, timeout=_PATIENCE_S, context=context
            )
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
            connection.close()
            with (
                openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
                pytest.raises(openai.APIConnectionError),
            ):
                client.models.list()
            with (
                openai.DefaultHttpxClient(verify=context) as trusting,
                openai.OpenAI(
                    base_url=f"{server.url}/v1", api_key="none", http_client=trusting
                ) as client,
            ):
                (model,) = client.models.list().data
                said = client.completions.create(model=model.id, prompt="Once", max_tokens=3)
            assert said.usage.completion_tokens == 3
