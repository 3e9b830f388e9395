"""The door of a server for this machine's user: one, his own, and gone with the server."""

import contextlib
import http.client
import json
import signal
import stat

import pytest

from pi_cluster.cluster import unix_socket
from tests.support.servers import serving


@pytest.fixture(scope="module")
def up(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        yield cluster


def state_folder(cluster):
    return cluster.folder / "state" / "pi-cluster" / cluster.name


def health_by_socket(cluster):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = unix_socket.connect(state_folder(cluster) / "server.sock", 10)
    with contextlib.closing(connection):
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["status"]


def test_a_server_tells_where_it_is_and_forgets_it_at_its_end(up):
    folder = state_folder(up)
    with serving(up) as server:
        record = json.loads((folder / "server.json").read_text())
        assert (record["pid"], record["url"]) == (server.process_id, server.url)
        assert record["addresses"] == [f"{server.host}:{server.port}"]
        mode = (folder / "server.sock").stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        assert health_by_socket(up) == (200, "ok")
        server.running.send(signal.SIGTERM)
        server.running.process.wait(20)
    assert not (folder / "server.sock").exists() and not (folder / "server.json").exists()


def test_a_second_server_of_a_cluster_names_the_first(up):
    with serving(up) as server:
        second = up.run("serve", "--port", "0")
        assert second.code == 1 and f"process {server.process_id}, {server.url}" in second.err
        assert health_by_socket(up)[0] == 200


def test_a_server_takes_the_place_of_one_that_was_killed(up):
    with serving(up) as first:
        first.running.send(signal.SIGKILL)
        first.running.process.wait(20)
        assert (state_folder(up) / "server.sock").exists()
        with serving(up):
            assert health_by_socket(up)[0] == 200
