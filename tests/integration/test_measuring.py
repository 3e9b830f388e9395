"""Nodes measure themselves once and their links when asked; plans show what follows from it."""

import json
import signal
from contextlib import contextmanager

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import ClusterError, NodeError, NodeLost, PipelineBusy
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.echo import measure_link
from pi_cluster.cluster.wire.failures import restored_errors
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.session import Session
from pi_cluster.coordinator.steps import StepChunk
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.worker.stage.next_node import why_unreachable
from tests.support.relay import relaying
from tests.support.worker_servers import EPOCH, PLAIN, pipeline, serving


def profile_of(cluster, name):
    return json.loads((cluster.folder / name / "node.json").read_text()).get("profile")


@pytest.fixture
def cluster(make_cluster):
    """A cluster whose nodes are new."""
    with make_cluster(measured=False) as fresh:
        yield fresh


@pytest.fixture
def stages(random_store, tmp_path):
    """Two stages on threads of this process, not measured yet."""
    with pipeline(random_store, [0, 3, 6], tmp_path / "vault") as served:
        yield served


@pytest.fixture
def client(stages):
    """Calls to the first of them."""
    with NodeClient(stages[0].peer, PLAIN) as opened:
        yield opened


def test_a_link_is_measured_and_tried_beside_a_connection_that_is_dead_unnoticed(stages, client):
    with relaying(stages[1].address) as relay:
        second = Peer(relay.address, stages[1].node_id)
        # The stages share a process with this, and connections as a session's do.
        with NodeClient(second, PLAIN) as earlier:
            earlier.describe()
            relay.hold_open_ones()
            assert client.measure_link(second).bytes_ps > 0
            assert why_unreachable(second, PLAIN) == ""


def test_a_node_is_measured_by_the_first_up_and_never_again(cluster):
    running, address = cluster.start_worker("one")
    assert profile_of(cluster, "one") is None
    assert "measuring 1 node, once" in cluster.up("--nodes", address).err
    profile = profile_of(cluster, "one")
    assert min(profile["alone"].values()) > 0 and min(profile["machine"].values()) > 0
    assert "measuring" not in cluster.up("--nodes", address, "--objective", "latency").err
    running.send(signal.SIGTERM)
    assert running.end().code == 0
    _, address = cluster.start_worker("one")
    assert "measuring" not in cluster.run("plan", "--nodes", address).err
    assert profile_of(cluster, "one") == profile


def test_with_other_threads_or_kernels_a_node_is_measured_anew(cluster):
    words = (("--threads", "1"), ("--threads", "2"), ("--threads", "2"))
    cluster.env["PI_CLUSTER_KERNELS"] = "portable"
    said = []
    for threads in words:
        running, address = cluster.start_worker("one", *threads)
        said.append("measuring" in cluster.run("plan", "--nodes", address).err)
        running.send(signal.SIGTERM)
        running.end()
    assert said == [True, True, False]
    del cluster.env["PI_CLUSTER_KERNELS"]
    _, address = cluster.start_worker("one", "--threads", "2")
    assert "measuring" in cluster.run("plan", "--nodes", address).err


@contextmanager
def computing(stages):
    """A session that every stage has been reached by: it began before that at the last one."""
    with Session(stages, EPOCH, 130, PLAIN) as session:
        session.submit([StepChunk(1, 0, [1, 2], 1)])
        session.next_result()
        yield


def test_a_node_that_computes_is_not_measured_but_tells_what_it_knows(stages, client):
    with (
        computing(stages),
        pytest.raises(PipelineBusy, match="measured meanwhile"),
    ):
        client.measure_node()
    assert not client.describe().HasField("speed")
    profile = client.measure_node()
    assert client.describe().speed.read_bytes_ps == profile.alone.read_bytes_ps
    with computing(stages):
        assert client.measure_node() == profile


def test_a_link_has_a_delay_and_a_rate_seen_from_here_and_from_another_worker(stages, client):
    for link in (measure_link(client), client.measure_link(stages[1].peer)):
        assert 0 < link.delay_s < 10 and link.bytes_ps > 0


def test_a_link_to_where_nobody_answers_is_an_error_that_names_it(client):
    with pytest.raises(NodeLost, match=r"127\.0\.0\.1:1 does not answer"):
        client.measure_link(Peer("127.0.0.1:1"))


def test_a_link_to_another_machine_is_not_measured_in_the_clear(client):
    with pytest.raises(ClusterError, match=r"nowhere\.invalid:7711 is not on this machine"):
        client.measure_link(Peer("nowhere.invalid:7711"))


@pytest.mark.parametrize("address", ["", "pi1.local", "pi1.local:99999"])
def test_a_link_to_what_is_no_address_is_refused(client, address):
    with pytest.raises(ClusterError, match="is not HOST:PORT"):
        client.measure_link(Peer(address))


def test_an_address_that_is_far_too_long_is_refused(stages):
    request = pb.MeasureLinkRequest(address="x" * 5_000 + ":7711")
    with (
        PLAIN.connect(stages[0].peer) as channel,
        pytest.raises(NodeError, match="5005 characters"),
        restored_errors("the node"),
    ):
        rpc.WorkerStub(channel).MeasureLink(request, timeout=10)


def test_an_echo_is_as_large_as_asked_for_and_bounded_both_ways(stages):
    most = settings.MAX_ECHO_BYTES
    with NodeClient(stages[0].peer, PLAIN) as client:
        client.echo(most, most)
        for sizes in ((most + 1, 0), (0, most + 1), (0, 2**32 - 1)):
            with pytest.raises(NodeError, match=f"at most {most}"):
                client.echo(*sizes)


class Boaster(rpc.WorkerServicer):
    """A node whose figures cannot be."""

    def __init__(self, figure):
        self._figure = figure

    def MeasureNode(self, request, context):  # noqa: N802
        return pb.NodeSpeed(read_bytes_ps=self._figure, macs_ps=1, machine_read_bytes_ps=1)

    def MeasureLink(self, request, context):  # noqa: N802
        return pb.LinkSpeed(delay_s=self._figure, bytes_ps=1)


@pytest.mark.parametrize("figure", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_figures_of_a_node_are_refused(figure):
    with serving(Boaster(figure)) as address, NodeClient(Peer(address), PLAIN) as client:
        with pytest.raises(NodeError, match=f"{address} tells of an impossible speed"):
            client.measure_node()
        with pytest.raises(NodeError, match=f"{address} tells of an impossible link"):
            client.measure_link(Peer("127.0.0.1:1"))


def test_plan_shows_both_objectives_and_changes_nothing(story):
    before = story.status()
    outcome = story.run("plan")
    assert outcome.code == 0 and "measuring" not in outcome.err
    for words in ("--objective throughput", "--objective latency", "slowest", "not used"):
        assert words in outcome.out
    assert outcome.out.count("expected tokens/s") == 2
    assert story.status() | {"stages": 0} == before | {"stages": 0}
    assert [s["layers"] for s in story.status()["stages"]] == [
        s["layers"] for s in before["stages"]
    ]


def test_plan_shows_the_model_in_each_format_that_it_could_be_kept_in(story):
    outcome = story.run("plan")
    assert "in other formats (shard --weights)" in outcome.out
    told = story.run("plan", "--json").json()
    formats = {one["weights"]: one for one in told["formats"]}
    assert list(formats) == ["q4m", "f16", "q8", "q4", "q4n"]
    assert [name for name, one in formats.items() if one["is_this"]] == ["q4m"]
    sizes = {name: one["size_bytes"] for name, one in formats.items()}
    assert sizes["q4"] == sizes["q4n"] < sizes["q4m"] < sizes["q8"] < sizes["f16"]
    for figure in ("decode_tps", "users_tps"):
        assert formats["f16"][figure] < formats["q8"][figure] < formats["q4m"][figure]
    throughput, latency = told["plans"]
    assert formats["q4m"]["users_tps"] == pytest.approx(throughput["users_tps"], rel=0.2)
    assert formats["q4m"]["decode_tps"] == pytest.approx(latency["decode_tps"], rel=0.2)


def test_plan_as_json_tells_what_to_expect(story):
    throughput, latency = story.run("plan", "--json").json()["plans"]
    assert throughput["objectives"] == ["throughput"] and latency["objectives"] == ["latency"]
    assert [s["node"] for s in throughput["stages"]] == ["local-1", "local-2", "local-3"]
    assert len(latency["stages"]) == 1 and len(latency["unused"]) == 2
    for plan in (throughput, latency):
        assert len(plan["links_s"]) == len(plan["stages"]) + 1
        assert min(plan[name] for name in ("decode_tps", "users_tps", "prefill_tps")) > 0
        slowest = max(plan["stages"], key=lambda stage: stage["token_s"])
        assert plan["stages"][plan["slowest"]] == slowest


def test_equal_plans_are_shown_once_and_nothing_is_deployed(cluster):
    _, address = cluster.start_worker("one")
    outcome = cluster.run("plan", "--nodes", address)
    assert outcome.code == 0 and "measuring 1 node" in outcome.err
    assert "--objective throughput or latency" in outcome.out
    assert outcome.out.count("expected tokens/s") == 1
    assert not list((cluster.folder / "one" / "shards").iterdir())
    with NodeClient(Peer(address), PLAIN) as client:
        assert not client.describe().HasField("stage")
    assert cluster.run("status").code == 1


def test_another_objective_plans_anew_and_is_remembered_with_its_prediction(cluster):
    assert "ready: 2 stages" in cluster.up("--local", "2").err
    first = cluster.record()
    assert first.objective == "throughput" and len(first.prediction.stage_s) == 2
    outcome = cluster.up("--local", "2", "--objective", "latency")
    assert "ready: 1 stage," in outcome.err and "not used" in outcome.err
    second = cluster.record()
    assert second.objective == "latency" and len(second.prediction.stage_s) == 1
    again = cluster.up("--local", "2", "--objective", "latency")
    assert "already up" in again.err and cluster.record() == second


def test_an_objective_that_leads_to_the_same_plan_moves_nothing_and_is_remembered(cluster):
    cluster.up("--local", "1")
    assert "already up" in cluster.up("--local", "1", "--objective", "latency").err
    assert cluster.record().objective == "latency"
