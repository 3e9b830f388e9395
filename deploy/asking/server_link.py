"""The way to a server: the socket of one on this machine, or the address that this user has set."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pi_cluster.cluster import settings, unix_socket
from pi_cluster.cluster.errors import (
    AccessError,
    ClusterError,
    ServerGone,
    ServerRefused,
    ServerUnready,
    StateError,
)
from pi_cluster.coordinator.records.server_record import is_running, socket_file

_CONNECT_S = 10.0
_SILENCE_S = 60.0  # it says something every ten seconds
_LOOK_S = 10.0  # whoever looks at it wants to know that it hangs
_MOST_LINE_BYTES = 32 << 20


class ServerLink:
    """Speaks with one server, a connection for each request."""

    def __init__(self, url: str, key: str = "", socket: Path | None = None) -> None:
        """``url`` is how it is called in messages; with a ``socket`` that is the way to it."""
        self._url, self._socket = url, socket
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    def get(self, path: str) -> dict[str, Any]:
        """What lies there; raises as `streaming` does."""
        connection = self._connection()
        try:
            for value in self._lines(self._asked(connection, path, None, _LOOK_S)):
                return value
        finally:
            connection.close()
        raise StateError(f"the server at {self._url} says nothing: look whether it still runs")

    @contextmanager
    def streaming(
        self, path: str, body: Mapping[str, Any] | None = None
    ) -> Iterator[Iterator[dict[str, Any]]]:
        """What it answers, line by line, until the block ends, which closes the connection.

        Without a ``body`` it is fetched. Raises ``ServerRefused``, and ``ServerGone`` when it
        cannot be reached or breaks off.
        """
        connection = self._connection()
        try:
            yield self._lines(self._asked(connection, path, body))
        finally:
            connection.close()

    def post(self, path: str, body: Mapping[str, Any]) -> None:
        """Have it do something that it has nothing to say of; raises as `streaming` does."""
        with self.streaming(path, body) as lines:
            for _ in lines:
                pass

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        body: Mapping[str, Any] | None,
        silence_s: float = _SILENCE_S,
    ) -> http.client.HTTPResponse:
        headers = {"content-type": "application/json", "x-progress": "1", **self._headers}
        try:
            connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(silence_s)
            if body is None:
                connection.request("GET", path, headers=headers)
            else:
                connection.request("POST", path, json.dumps(body).encode(), headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise ServerGone(self._unreached(error)) from error
        if response.status >= 300:
            raise self._refusal(response)
        return response

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
        while True:
            try:
                line = response.readline(_MOST_LINE_BYTES)
                if not line:
                    return
                value = json.loads(line)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise ServerGone(
                    f"the server at {self._url} broke off: look whether it still runs, and ask "
                    "again"
                ) from error
            if not isinstance(value, dict):
                raise StateError(f"{self._url} is no pi-cluster server: look at PI_CLUSTER_URL")
            yield value

    def _refusal(self, response: http.client.HTTPResponse) -> ClusterError:
        try:
            told = json.loads(response.read(_MOST_LINE_BYTES))["error"]["message"]
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            return StateError(
                f"{self._url} answers with HTTP {response.status} and is no pi-cluster server: "
                "look at PI_CLUSTER_URL"
            )
        if response.status in (401, 403):
            return AccessError(f"the server at {self._url}: {told}; PI_CLUSTER_API_KEY has the key")
        return (ServerUnready if response.status == 503 else ServerRefused)(str(told))

    def _unreached(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"the certificate of {self._url} is not trusted here ({error.verify_message}): "
                "have SSL_CERT_FILE name its authority's certificate"
            )
        step = "ask the nodes with --direct" if self._socket else "look at PI_CLUSTER_URL"
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        return f"the server at {self._url} does not answer ({why}): look whether it runs, or {step}"

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket:
            return _LocalConnection(self._socket)
        parts = urlsplit(self._url)
        assert parts.hostname
        if parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=_CONNECT_S, context=context
            )
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=_CONNECT_S)


class _LocalConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = unix_socket.connect(self._path, _CONNECT_S)


def link_to_server(cluster: str) -> ServerLink | None:
    """The way to the server that PI_CLUSTER_URL names, or that runs here; None without one.

    Raises ``StateError`` for an address that is none, and ``AccessError`` for such a key.
    """
    if url := settings.server_url():
        return ServerLink(_checked(url), _checked_key(settings.server_key()))
    return link_to_local_server(cluster)


def link_to_local_server(cluster: str) -> ServerLink | None:
    """The way to the cluster's server on this machine; None where none runs."""
    if not is_running(cluster):
        return None
    path = socket_file(cluster)
    return ServerLink(str(path), socket=path)


def _checked_key(key: str) -> str:
    # The key itself is not shown: a mistyped one is nearly a good one.
    if not (key.isascii() and key.isprintable()):
        raise AccessError(
            "PI_CLUSTER_API_KEY is no key: set it to what `pi-cluster key create NAME` has shown"
        )
    return key


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        is_sound = is_sound and parts.path.rstrip("/") in ("", "/v1")
    except ValueError:
        is_sound = False
    if not is_sound:
        raise StateError(f"PI_CLUSTER_URL is {url!r}: it must be as http://pi.local:8080")
    return url.rstrip("/").removesuffix("/v1")
