"""Workers started by hand and named by address; and nodes that cannot be used, with the reason."""

import signal
import sys

import pytest

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.store.store import Store
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.nodes import ask_nodes
from pi_cluster.coordinator.pipeline.rollout import load_stages, make_rollout
from pi_cluster.coordinator.pipeline.transfer import hand_out_shards
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.transformer.config_form import read_config
from tests.support.checkpoints import write_hugging_face_checkpoint
from tests.support.stores import shard
from tests.support.worker_servers import PLAIN, serving

ASKED = ("--ids", "1,3,558,355,4", "--seed", "3", "--max-tokens", "20")


@pytest.fixture
def worker(cluster):
    """The address of a worker started by hand."""
    return cluster.start_worker("by-hand")[1]


def refused(outcome, *named):
    assert (outcome.code, outcome.out) == (1, ""), outcome
    assert "Traceback" not in outcome.err and "internal" not in outcome.err, outcome.err
    assert sum(line.startswith("error: ") for line in outcome.err.splitlines()) == 1, outcome.err
    for words in named:
        assert words in outcome.err
    return True


def test_two_workers_named_by_address_answer_as_one_and_survive_a_restart(cluster, story):
    first, one = cluster.start_worker("one")
    second, two = cluster.start_worker("two")
    cluster.up("--nodes", f"{one},{two}")
    assert [stage["node"] for stage in cluster.status()["stages"]] == ["one", "two"]
    ids = cluster.prompt(*ASKED)["ids"]
    assert ids == story.prompt(*ASKED)["ids"]
    for running in (first, second):
        running.send(signal.SIGTERM)
        assert running.end().code == 0
    assert cluster.run("status").code == 1
    second, two = cluster.start_worker("two")
    first, one = cluster.start_worker("one")
    assert "0 B moved" in cluster.up("--nodes", f"{one},{two}").err
    assert cluster.prompt(*ASKED)["ids"] == ids


def test_a_node_that_has_no_part_in_the_next_pipeline_lets_its_stage_go(cluster):
    _, one = cluster.start_worker("one")
    _, two = cluster.start_worker("two")
    cluster.up("--nodes", f"{one},{two}")
    assert "ready: 1 stage," in cluster.up("--nodes", two).err
    with NodeClient(Peer(one), PLAIN) as client:
        assert not client.describe().HasField("stage")
    assert [stage["layers"] for stage in cluster.status()["stages"]] == ["0:32"]


def test_the_worker_may_be_started_as_a_module(cluster):
    words = [sys.executable, "-m", "pi_cluster.worker", "--listen", "127.0.0.1:0", "--no-mdns"]
    running = cluster.start_program([*words, "--cluster", cluster.name])
    ready, address, node_id = running.read_line().split()
    assert ready == "ready" and address.startswith("127.0.0.1:") and node_id.isalnum()
    assert "module" not in running.error_text
    planned = cluster.run("plan", "--nodes", address)
    assert planned.code == 0 and address in planned.out
    running.send(signal.SIGTERM)
    assert running.end().code == 0


def test_a_port_in_use_is_named_with_the_way_out(cluster, closed_port):
    outcome = cluster.run("worker", "--no-mdns", "--listen", f"127.0.0.1:{closed_port}")
    assert refused(outcome, f"127.0.0.1:{closed_port}", "in use", "--listen")


def test_a_data_directory_of_another_worker_is_refused(cluster, worker):
    data_dir = str(cluster.folder / "by-hand")
    words = ("worker", "--no-mdns", "--listen", "127.0.0.1:0", "--data-dir", data_dir)
    assert refused(cluster.run(*words), data_dir, "in use by another worker", "--data-dir")


def test_an_address_where_nobody_listens_is_named(cluster, worker, closed_port):
    outcome = cluster.run("up", "--nodes", f"{worker},127.0.0.1:{closed_port}")
    assert refused(outcome, f"127.0.0.1:{closed_port} does not answer")
    assert cluster.run("status").code == 1


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ("pi1.local:", "'pi1.local:' is not HOST:PORT"),
        ("pi1.local:7711,", "'' is not HOST:PORT"),
        ("pi1.local:99999", "pi1.local:99999"),
        ("pi1.local:seven", "pi1.local:seven"),
        ("pi1.local:7711,pi1.local:7711", "twice"),
    ],
)
def test_a_list_of_nodes_that_is_none_is_refused(cluster, nodes, named):
    assert refused(cluster.run("up", "--nodes", nodes), named)


def test_one_node_under_two_names_is_refused(cluster, worker):
    other_name = worker.replace("127.0.0.1", "localhost")
    outcome = cluster.run("up", "--nodes", f"{worker},{other_name}")
    assert refused(outcome, worker, other_name, "same node")


def test_a_worker_of_another_cluster_is_refused_with_both_names(cluster, make_cluster, worker):
    with make_cluster() as stranger:
        outcome = stranger.run("up", "--nodes", worker)
        assert refused(outcome, cluster.name, stranger.name, "--cluster")


def test_mdns_without_workers_names_the_remedies(cluster):
    named = (cluster.name, "pi-cluster worker", "--nodes", "--local")
    assert refused(cluster.run("up"), *named)


def test_an_impossible_cluster_name_is_refused(cluster):
    assert refused(cluster.run("up", "--local", "1", "--cluster", "a/b"), "a/b", "letters")


class NoProgress:
    def begin(self, node, received_bytes, total_bytes):
        pass

    def update(self, node, received_bytes):
        pass

    def end(self, node):
        pass


def test_a_node_that_leaves_between_plan_and_load_is_named(cluster, tmp_path):
    _, one = cluster.start_worker("stays")
    leaving, two = cluster.start_worker("leaves")
    write_hugging_face_checkpoint(tmp_path / "checkpoint")
    shard(tmp_path / "checkpoint", tmp_path / "store")
    store = Store(tmp_path / "store")
    nodes = ask_nodes([Peer(one), Peer(two)], cluster.name, PLAIN)
    limits = choose_limits(read_config(store.manifest.config), None)
    rollout = make_rollout(store, nodes, limits, None, Objective.THROUGHPUT, PLAIN)
    leaving.stop()
    with pytest.raises(NodeLost, match=f"leaves .{two}. does not answer"):
        hand_out_shards(rollout, NoProgress())
    with pytest.raises(NodeLost, match=f"leaves .{two}. does not answer"):
        load_stages(rollout, 1)
    cluster.up(str(tmp_path / "store"), "--nodes", one)
    assert len(cluster.prompt("--ids", "1", "--max-tokens", "3")["ids"]) == 3


class Foreign(rpc.WorkerServicer):
    """A worker of another version of the wire protocol."""

    def __init__(self, cluster, wire_version):
        self._about = pb.NodeDescription(
            node_id="f0", name="foreign", cluster=cluster, wire_version=wire_version
        )

    def Describe(self, request, context):  # noqa: N802
        return self._about


@pytest.mark.parametrize(("version", "older"), [(99, "this machine"), (0, "127.0.0.1")])
def test_another_wire_version_names_the_side_to_update(cluster, version, older):
    with serving(Foreign(cluster.name, version)) as address:
        outcome = cluster.run("up", "--nodes", address)
    assert refused(outcome, address, f"version {version} of the wire", f"pi-cluster on {older}")


def test_a_killed_worker_can_be_started_again_at_once_on_its_port(cluster):
    running, address = cluster.start_worker("first")
    running.stop()
    again = cluster.start(
        *("worker", "--no-mdns", "--listen", address, "--data-dir", str(cluster.folder / "first"))
    )
    assert again.read_line().split()[1] == address
