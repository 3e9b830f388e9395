"""``pi-cluster doctor`` over real workers: what it tells, what it finds, and how it ends."""

import json
import time

import pytest

from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from tests.support.servers import serving
from tests.support.worker_servers import PLAIN


def examined(cluster, *words):
    """Exit code, and what ``doctor --json`` prints."""
    outcome = cluster.run("doctor", "--json", *words)
    assert "Traceback" not in outcome.err and "internal" not in outcome.err, outcome.err
    return outcome.code, json.loads(outcome.out)


def problems(report):
    return [found for found in report["findings"] if found["severity"] == "problem"]


def test_three_local_workers_are_examined_and_reach_and_hear_each_other(story):
    code, report = examined(story)
    # The machine that the tests run on may be hot or short of disk, which is not their business.
    assert code == int(bool(problems(report)))
    assert not [found for found in problems(report) if "connect" in found["what"]]
    nodes = {node["node"]: node for node in report["nodes"]}
    assert nodes.keys() == {"local-1", "local-2", "local-3"}
    ids = {node["about"]["node_id"] for node in nodes.values()}
    assert ids <= set(report["operator"]["heard"])
    for node in nodes.values():
        told = node["examination"]
        assert node["about"]["stage"]["epoch"] == story.record().epoch
        assert abs(node["clock_offset_s"]) < 2 and told["uptime_s"] > 0
        assert told["python"].startswith("3.") and told["wheel"].startswith("py3-none-linux_")
        assert {reached["error"] for reached in told["reached"]} == {""}
        assert len(told["reached"]) == 2 and set(told["heard"]) >= ids
        assert told["disk_bytes"] > node["about"]["free_disk_bytes"] > 0
    table = story.run("doctor")
    assert table.code == code and "\x1b" not in table.out
    for words in (
        "this machine: pi-cluster ",
        "local-1",
        "local-3",
        "kernels",
        "mDNS hears",
        "2 of 2 other nodes",
    ):
        assert words in table.out


def test_a_dead_node_of_the_pipeline_is_a_problem_and_the_others_are_still_examined(cluster):
    cluster.up("--local", "2")
    cluster.kill_for_good("local-2")
    code, report = examined(cluster)
    assert code == 1
    [found] = [found for found in problems(report) if found["nodes"] == ["local-2"]]
    assert "refused" in found["what"]
    assert "local-2.log" in found["to_do"] and "journalctl" not in found["to_do"]
    errors = {node["node"]: node["error"] for node in report["nodes"]}
    assert errors["local-1"] is None and errors["local-2"].startswith("refused")
    shown = cluster.run("doctor")
    assert shown.code == 1 and "problem: local-2: no connection" in shown.out
    assert f"{len(problems(report))} problem" in shown.out


def test_named_nodes_are_examined_without_mdns_and_without_a_pipeline(cluster, closed_port):
    _, one = cluster.start_worker("one")
    _, two = cluster.start_worker("two")
    code, report = examined(cluster, "--nodes", f"{one},{two}")
    assert [node["node"] for node in report["nodes"]] == ["one", "two"]
    assert code == int(bool(problems(report)))
    # Both were told not to announce themselves, so nobody hears them.
    assert any("no node is heard by mDNS" in found["what"] for found in report["findings"])
    code, report = examined(cluster, "--nodes", f"{one},127.0.0.1:{closed_port}")
    assert code == 1
    assert [f"127.0.0.1:{closed_port}"] in [found["nodes"] for found in problems(report)]


def test_a_node_of_another_cluster_is_named(cluster, make_cluster):
    _, address = cluster.start_worker("one")
    with make_cluster() as other:
        code, report = examined(other, "--nodes", address)
        assert code == 1
        assert any(f"--cluster {cluster.name}" in found["to_do"] for found in problems(report))


def test_without_any_node_that_is_the_problem(cluster):
    code, report = examined(cluster)
    assert code == 1 and report["nodes"] == []
    assert any("no node of cluster" in found["what"] for found in problems(report))


def test_a_list_of_nodes_that_is_none_is_an_error(cluster):
    outcome = cluster.run("doctor", "--nodes", "pi1:seven")
    assert (outcome.code, outcome.out) == (1, "") and "HOST:PORT" in outcome.err


def test_keys_that_others_may_read_are_found(cluster):
    folder = cluster.folder / "config" / "pi-cluster" / cluster.name
    folder.mkdir(parents=True, mode=0o700)
    (folder / "operator.key").touch(mode=0o644)
    (folder / "authority.key").touch(mode=0o600)
    (folder / "operator.key").chmod(0o644)
    _, report = examined(cluster)
    assert report["operator"]["exposed_keys"] == [str(folder / "operator.key")]
    assert f"chmod 600 {folder / 'operator.key'}" in [f["to_do"] for f in report["findings"]]


def test_a_name_is_shown_as_it_stands_whatever_it_means_to_the_screen(cluster):
    name = "[/red] [link=x]pi"
    _, address = cluster.start_worker(name)
    shown = cluster.run("doctor", "--nodes", address)
    assert name in shown.out and "internal" not in shown.err
    cluster.up("--nodes", address)
    shown = cluster.run("status")
    assert shown.code == 0 and name in shown.out


def test_a_worker_refuses_an_examination_out_of_bounds_and_goes_on(cluster):
    _, address = cluster.start_worker("one")
    with NodeClient(Peer(address), PLAIN) as client:
        with pytest.raises(NodeError, match="at most 64"):
            client.examine(["a:1"] * 65, 0, measure_disk=False)
        with pytest.raises(NodeError, match="too long"):
            client.examine([], 60_000, measure_disk=False)
        assert client.examine([], 0, measure_disk=False).python


def test_a_server_of_this_machine_is_examined_as_its_clients_find_it(make_cluster):
    with make_cluster() as cluster:
        cluster.up("--local", "1")
        assert examined(cluster)[1]["server"] is None
        cluster.run("key", "create", "phone")
        with serving(cluster, "--host", "0.0.0.0", "--tls") as server:
            _, report = examined(cluster)
            told = report["server"]
            assert told["url"] == server.url and told["answers_here"] and told["keys"] == 1
            assert told["unreached"] == [] and told["tls_error"] == ""
            assert told["certificate_expires_unix_s"] > time.time() + 30 * 86_400
            assert not [one for one in report["findings"] if "the server at" in one["what"]]
            cluster.run("key", "revoke", "phone")
            wanted = [one["to_do"] for one in problems(examined(cluster)[1])]
            assert any("key create NAME" in one for one in wanted)
