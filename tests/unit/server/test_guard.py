"""Who is let in: names, origins, keys and sizes, whatever route is asked for."""

import json

import pytest
from starlette.responses import JSONResponse, Response

from pi_cluster.server.http.bodies import MAX_BODY_BYTES
from pi_cluster.server.http.guard import Admission, Guard
from tests.support.asgi import ask


class OneKey:
    are_needed = True

    def asker(self, key):
        return "kitchen" if key == "right" else None


async def _echo(scope, receive, send):
    await receive()
    await JSONResponse({"asker": scope["state"]["asker"]})(scope, receive, send)


def guarded(**admission):
    return Guard(_echo, Admission(**admission))


def code_of(body):
    return json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.168.1.7", "10.0.0.9"),
        *("pi.local", "PI.Local.:8080", "pi4.home.arpa", "x.internal", "nas.lan", "[fd00::1]"),
    ],
)
def test_names_that_no_stranger_owns_are_let_in(host):
    assert ask(guarded(), "POST", "/v1/x", {"host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "8.8.8.8", "", "local", "xlocalhost", "[::1].evil"],
)
def test_the_name_of_a_stranger_is_refused_whatever_it_leads_to(host):
    status, _, body = ask(guarded(), "POST", "/v1/x", {"host": host})
    assert (status, code_of(body)) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["chat.example.org", "a.b.example.net:99"])
def test_other_names_are_let_in_by_name_or_by_what_they_end_in(host):
    app = guarded(hosts=("Chat.example.org", ".example.net"))
    assert ask(app, "POST", "/v1/x", {"host": host})[0] == 200
    assert ask(app, "POST", "/v1/x", {"host": "example.org"})[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "chrome-extension://localhost:8080"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"},
    ],
)
def test_pages_of_other_origins_may_not_call(headers):
    status, told, body = ask(guarded(), "POST", "/v1/x", headers)
    assert (status, code_of(body)) == (403, "foreign_origin")
    assert "access-control-allow-origin" not in told


def test_a_page_of_our_own_may_call_also_behind_a_proxy_that_speaks_tls():
    for origin in ("http://localhost:8080", "https://localhost:8080"):
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        assert ask(guarded(), "POST", "/v1/x", headers)[0] == 200
    headers = {"host": "pi.local", "origin": "https://pi.local:443"}
    assert ask(guarded(), "POST", "/v1/x", headers)[0] == 200


def test_a_link_elsewhere_leads_to_the_page_and_to_nothing_else():
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "document"}
    app = guarded(public=lambda path: path == "/")
    assert ask(app, "GET", "/", headers)[0] == 200
    assert ask(app, "GET", "/v1/models", headers)[0] == 403
    assert ask(app, "GET", "/", headers | {"sec-fetch-dest": "iframe"})[0] == 403


def test_an_allowed_origin_may_ask_before_it_calls_and_read_the_answer():
    app = guarded(origins=frozenset({"https://chat.example.org"}), keys=OneKey())
    headers = {"origin": "https://chat.example.org", "sec-fetch-site": "cross-site"}
    wish = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    status, told, _ = ask(app, "OPTIONS", "/v1/x", headers | wish)
    assert status == 204
    assert told["access-control-allow-headers"] == "authorization,content-type"
    assert told["access-control-allow-origin"] == "https://chat.example.org"
    status, told, _ = ask(app, "POST", "/v1/x", headers | {"authorization": "Bearer right"})
    assert (status, told["access-control-allow-origin"]) == (200, "https://chat.example.org")
    # A refusal can be read too, or the page could only say that something failed.
    status, told, _ = ask(app, "POST", "/v1/x", headers)
    assert (status, told["access-control-allow-origin"]) == (401, "https://chat.example.org")
    assert ask(app, "OPTIONS", "/v1/x", wish | {"origin": "https://evil.example"})[0] == 403


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer right"}, {"authorization": "bearer  right"}, {"x-api-key": "right"}],
)
def test_a_key_is_taken_from_either_header_and_its_name_is_who_asks(headers):
    status, _, body = ask(guarded(keys=OneKey()), "POST", "/v1/x", headers)
    assert (status, json.loads(body)) == (200, {"asker": "kitchen"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic right"},
        {"authorization": "right"},
        {"x-api-key": "right" * 100},
    ],
)
def test_without_a_good_key_nothing_but_health_is_told(headers):
    app = guarded(keys=OneKey())
    status, told, body = ask(app, "POST", "/v1/x", headers)
    assert (status, code_of(body)) == (401, "invalid_api_key")
    assert told["www-authenticate"] == "Bearer" and b"wrong" not in body
    assert ask(app, "GET", "/health", headers)[0] == 200


def test_without_keys_any_key_is_as_good_as_none():
    status, _, body = ask(guarded(), "POST", "/v1/x", {"authorization": "Bearer sk-anything"})
    assert (status, json.loads(body)) == (200, {"asker": ""})


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "9" * 30, "-1", "x"])
def test_a_body_that_says_it_is_too_large_is_not_read(length):
    status, _, body = ask(guarded(), "POST", "/v1/x", {"content-length": length})
    assert (status, code_of(body)) == (413, "body_too_large")


def test_a_fault_is_told_and_logged_without_what_it_says(caplog):
    async def failing(scope, receive, send):
        raise ValueError(" ".join([scope["method"], "my", "secret"]))

    status, _, body = ask(Guard(failing, Admission()), "POST", "/api/chat")
    assert status == 500 and set(json.loads(body)) == {"error"} and b"secret" not in body
    assert "ValueError" in caplog.text and "failing" in caplog.text
    assert "POST my secret" not in caplog.text


def test_each_request_is_told_of_when_it_ends():
    ended = []

    async def app(scope, receive, send):
        await Response(b"")(scope, receive, send)

    guard = Guard(app, Admission(keys=OneKey()), ended.append)
    ask(guard, "GET", "/v1/models", {"x-api-key": "right"})
    ask(guard, "POST", "/v1/models")
    told = [(visit.method, visit.status, visit.asker, visit.finish) for visit in ended]
    assert told == [("GET", 200, "kitchen", ""), ("POST", 401, "", "invalid_api_key")]
    assert not guard.visits
