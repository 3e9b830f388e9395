"""Shards on their way: from the operator, from node to node, through broken connections."""

import os
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.transfer.interruptions import Interruption, interrupted_hand_out
from benchmarks.transfer.proxy import Proxy
from benchmarks.transfer.store import make_store
from pi_cluster.cluster.errors import NodeError, NodeLost, PipelineClosed
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.store import MANIFEST_NAME, Store
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.options import WIRE_VERSION
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline import receiver
from pi_cluster.coordinator.pipeline.nodes import ask_nodes
from pi_cluster.coordinator.pipeline.rollout import Rollout, load_stages
from pi_cluster.coordinator.pipeline.transfer import Moved, hand_out_shards
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.plan import Plan, PlannedStage
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.deploy.screen import output
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.protos import pi_cluster_pb2_grpc as rpc
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.limits import Limits
from tests.support.checkpoints import small_config
from tests.support.cluster_process import eventually
from tests.support.worker_servers import PLAIN, serving

LIMITS = Limits(max_step_rows=1, max_sequences=1, context=1, cache_positions=1)
NOTHING_PREDICTED = Prediction(0.0, 0.0, 0.0, (), ())
LAYER_BYTES = 3_000_001


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Six layers of random bytes, which no stage could load."""
    return make_store(tmp_path_factory.mktemp("transfer") / "store", 6, LAYER_BYTES)


def planned(cluster_name, store, ranges, besides=(), limits=LIMITS):
    """A rollout that gives each address its layers; nodes at ``besides`` get none."""
    nodes = ask_nodes([Peer(address) for address in [*ranges, *besides]], cluster_name, PLAIN)
    stages = tuple(
        PlannedStage(node.about.node_id, layers, weight_bytes=0, memory_bytes=0)
        for node, layers in zip(nodes, ranges.values(), strict=False)
    )
    by_id = {node.about.node_id: node for node in nodes}
    return Rollout(
        *(store.manifest, store, limits, Objective.THROUGHPUT),
        *(Plan(stages), NOTHING_PREDICTED, by_id, PLAIN),
    )


class Watched:
    """Progress as it was told, by the node's name."""

    def __init__(self, on_update=lambda name, received: None):
        self.began, self.updates, self.ended = {}, {}, []
        self._on_update = on_update

    def begin(self, node, received_bytes, total_bytes):
        self.began[node.name] = (received_bytes, total_bytes)

    def update(self, node, received_bytes):
        self.updates.setdefault(node.name, []).append(received_bytes)
        self._on_update(node.name, received_bytes)

    def end(self, node):
        self.ended.append(node.name)


def held(store, address):
    with NodeClient(Peer(address), PLAIN) as client:
        found = client.find_shards(store.manifest.files)
    return {file.name for file in store.manifest.files if file.sha256 in found.held}


def vault_of(cluster, name):
    return cluster.folder / name / "shards"


def size_of(store, start, stop):
    return sum(file.size_bytes for file in store.manifest.stage_files(start, stop))


def test_a_new_plan_moves_only_what_changed_and_from_the_node_that_has_it(cluster, store):
    _, one = cluster.start_worker("one")
    _, two = cluster.start_worker("two")
    first = planned(cluster.name, store, {one: LayerRange(0, 5), two: LayerRange(5, 6)})
    watched = Watched()
    assert hand_out_shards(first, watched) == Moved(store.manifest.size_bytes, 0)
    assert watched.began["one"] == (0, size_of(store, 0, 5))
    assert watched.updates["one"][-1] == size_of(store, 0, 5)
    assert sorted(watched.ended) == ["one", "two"]
    second = planned(cluster.name, store, {one: LayerRange(0, 2), two: LayerRange(2, 6)})
    watched = Watched()
    assert hand_out_shards(second, watched) == Moved(0, 3 * LAYER_BYTES)
    assert (watched.began, watched.ended) == ({"two": (0, 3 * LAYER_BYTES)}, ["two"])
    assert hand_out_shards(second, Watched()) == Moved()
    for file in store.manifest.stage_files(2, 6):
        arrived = vault_of(cluster, "two") / f"{file.sha256}.safetensors"
        assert arrived.read_bytes() == store.path_of(file).read_bytes()


def test_a_store_of_version_2_that_was_sharded_before_in_version_1_moves_nothing(
    cluster, random_store, older_store
):
    one, two = (cluster.start_worker(name)[1] for name in ("one", "two"))
    words = ("--nodes", f"{one},{two}")
    first = cluster.up(str(older_store.path), *words)
    assert "lacks shards of" in first.err
    before = {name: files_of(cluster, name) for name in ("one", "two")}
    ids = ("--ids", "1,5,9", "--max-tokens", "8", "--temperature", "0")
    said = cluster.prompt(*ids)["ids"]

    again = cluster.up(str(random_store.path), *words)
    assert "lacks shards of" not in again.err
    assert "ready: 2 stages" in again.err
    assert {name: files_of(cluster, name) for name in ("one", "two")} == before
    assert cluster.record().manifest == random_store.manifest
    assert cluster.prompt(*ids)["ids"] == said


@pytest.fixture
def older_store(random_store, tmp_path):
    """What a pi-cluster before version 2 made of the same checkpoint."""
    layer = small_config(n_layers=6).layers[0]
    values = random_store.manifest.config | {"n_layers": 6, "rope_theta": 10_000.0}
    del values["layers"], values["rope_tables"]
    sizes = ("n_heads", "n_kv_heads", "head_dim", "hidden_dim", "window")
    values |= {name: getattr(layer, name) for name in sizes}
    assert read_config(values) == read_config(random_store.manifest.config)
    manifest = replace(random_store.manifest, config=values, formats=None)
    for file in manifest.files:
        (tmp_path / file.name).symlink_to(random_store.path_of(file))
    (tmp_path / MANIFEST_NAME).write_text(manifest.to_json())
    return Store(tmp_path)


def files_of(cluster, name):
    """The shards of a worker; one that came again would be another file of the same name."""
    return {path.name: path.stat().st_ino for path in vault_of(cluster, name).iterdir()}


def test_layers_that_moved_from_node_to_node_are_loaded(cluster, random_store):
    _, one = cluster.start_worker("one")
    _, two = cluster.start_worker("two")
    limits = choose_limits(read_config(random_store.manifest.config), None)
    hand_out_shards(planned(cluster.name, random_store, {one: LayerRange(0, 6)}), Watched())
    ranges = {one: LayerRange(0, 3), two: LayerRange(3, 6)}
    rollout = planned(cluster.name, random_store, ranges, limits=limits)
    assert hand_out_shards(rollout, Watched()).from_operator == 0
    load_stages(rollout, 1)


def test_a_node_without_layers_hands_on_what_it_still_holds(cluster, store):
    _, one = cluster.start_worker("one")
    _, two = cluster.start_worker("two")
    hand_out_shards(planned(cluster.name, store, {one: LayerRange(0, 6)}), Watched())
    rollout = planned(cluster.name, store, {two: LayerRange(0, 6)}, besides=[one])
    assert hand_out_shards(rollout, Watched()) == Moved(0, store.manifest.size_bytes)


def test_what_a_source_holds_damaged_comes_from_the_operator(cluster, store):
    _, one = cluster.start_worker("one")
    _, two = cluster.start_worker("two")
    hand_out_shards(planned(cluster.name, store, {one: LayerRange(0, 6)}), Watched())
    for path in vault_of(cluster, "one").iterdir():
        path.write_bytes(bytes(path.stat().st_size))
    rollout = planned(cluster.name, store, {two: LayerRange(0, 6)}, besides=[one])
    assert hand_out_shards(rollout, Watched()).from_operator == store.manifest.size_bytes
    assert len(held(store, two)) == len(store.manifest.files)


class Boaster(rpc.WorkerServicer):
    """A node that claims to hold everything, and breaks off whatever it is asked for."""

    def __init__(self, cluster_name):
        self._about = pb.NodeDescription(
            node_id="boaster", name="boaster", cluster=cluster_name, wire_version=WIRE_VERSION
        )
        self.asked = 0

    def Describe(self, request, context):  # noqa: N802
        return self._about

    def FindShards(self, request, context):  # noqa: N802
        return pb.FindShardsReply(held=request.sha256)

    def GetShard(self, request, context):  # noqa: N802
        self.asked += 1
        yield pb.ShardPart(sha256=request.sha256, size_bytes=LAYER_BYTES, data=b"")
        yield pb.ShardPart(data=bytes(1000))
        raise RuntimeError("the cable is out")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_a_source_breaks_off_comes_from_the_operator(cluster, store):
    _, one = cluster.start_worker("one")
    boaster = Boaster(cluster.name)
    with serving(boaster) as address:
        rollout = planned(cluster.name, store, {one: LayerRange(0, 6)}, besides=[address])
        moved = hand_out_shards(rollout, Watched())
    assert boaster.asked
    assert len(held(store, one)) == len(store.manifest.files)
    assert moved.from_operator >= store.manifest.size_bytes - LAYER_BYTES


def test_a_connection_that_is_cut_goes_on_where_it_broke(cluster, store):
    _, one = cluster.start_worker("one")
    with Proxy(one, 100e6) as proxy:
        cuts = iter([LAYER_BYTES // 2, 3 * LAYER_BYTES, 4 * LAYER_BYTES])
        due = [next(cuts)]

        def cut(name, received):
            if due and received > due[0]:
                due[:] = list(cuts)[:1]
                proxy.cut()

        rollout = planned(cluster.name, store, {proxy.address: LayerRange(0, 6)})
        moved = hand_out_shards(rollout, Watched(cut))
    assert not due
    assert len(held(store, one)) == len(store.manifest.files)
    assert moved.from_operator < 1.5 * store.manifest.size_bytes


def test_a_worker_that_is_killed_and_started_again_gets_the_rest(cluster, store):
    first, one = cluster.start_worker("one")
    with Proxy(one, 10e6) as proxy, ThreadPoolExecutor(1) as pool:
        rollout = planned(cluster.name, store, {proxy.address: LayerRange(0, 6)})
        watched = Watched()
        moving = pool.submit(hand_out_shards, rollout, watched)
        eventually(lambda: proxy.arrived_bytes, lambda seen: seen > LAYER_BYTES)
        first.stop()
        words = ("worker", "--no-mdns", "--listen", one)
        again = cluster.start(*words, "--data-dir", str(cluster.folder / "one"))
        assert again.read_line().split()[1] == one
        moving.result(timeout=60)
        assert proxy.arrived_bytes < 1.3 * store.manifest.size_bytes
    assert watched.updates["one"][-1] == store.manifest.size_bytes
    assert len(held(store, one)) == len(store.manifest.files)


class Loose(Proxy):
    """A cable that is loose for a while: connections are broken off as soon as they come."""

    def __init__(self, target):
        super().__init__(target, 100e6)
        self._left_to_pass = self._left_to_break = 0
        self._on_break = lambda: None

    def come_loose(self, after, breaks, on_break=lambda: None):
        """Let ``after`` connections through, then break off so many."""
        self._left_to_pass, self._left_to_break, self._on_break = after, breaks, on_break
        self.cut()

    @property
    def is_tight_again(self):
        return not self._left_to_break

    def _connect(self, near):
        if self._left_to_break and not self._left_to_pass:
            self._left_to_break -= 1
            near.close()
            self._on_break()
            return
        self._left_to_pass = max(0, self._left_to_pass - 1)
        super()._connect(near)


@pytest.mark.parametrize("answers", [0, 1], ids=["asked what it holds", "asked what it lacks"])
def test_a_connection_that_breaks_before_anything_was_sent_is_tried_again(cluster, store, answers):
    _, one = cluster.start_worker("one")
    with Loose(one) as proxy:
        rollout = planned(cluster.name, store, {proxy.address: LayerRange(0, 6)})
        proxy.come_loose(after=answers, breaks=6)
        assert hand_out_shards(rollout, Watched()) == Moved(store.manifest.size_bytes, 0)
        assert proxy.is_tight_again
    assert len(held(store, one)) == len(store.manifest.files)


def test_a_node_that_is_gone_before_anything_was_sent_is_named_and_the_others_are_ready(
    cluster, store, monkeypatch
):
    monkeypatch.setattr(receiver, "PATIENCE_S", 1.0)
    gone, one = cluster.start_worker("one")
    _, two = cluster.start_worker("two")
    rollout = planned(cluster.name, store, {one: LayerRange(0, 3), two: LayerRange(3, 6)})
    gone.stop()
    with pytest.raises(NodeLost, match=r"one .* does not answer"):
        hand_out_shards(rollout, Watched())
    assert held(store, two) == {file.name for file in store.manifest.stage_files(3, 6)}


@pytest.mark.timeout(60)
def test_a_node_that_could_only_be_a_source_is_not_waited_for(cluster, store, monkeypatch):
    monkeypatch.setattr(receiver, "PATIENCE_S", 600.0)
    _, one = cluster.start_worker("one")
    gone, two = cluster.start_worker("two")
    rollout = planned(cluster.name, store, {one: LayerRange(0, 6)}, besides=[two])
    gone.stop()
    assert hand_out_shards(rollout, Watched()) == Moved(store.manifest.size_bytes, 0)


@pytest.mark.timeout(60)
def test_ctrl_c_ends_the_patience_with_a_node_that_does_not_answer(cluster, store, monkeypatch):
    monkeypatch.setattr(receiver, "PATIENCE_S", 600.0)
    _, one = cluster.start_worker("one")

    presses = iter([signal.SIGINT])

    def press_ctrl_c():
        for number in presses:  # once
            signal.pthread_kill(threading.main_thread().ident, number)

    with Loose(one) as proxy:
        rollout = planned(cluster.name, store, {proxy.address: LayerRange(0, 6)})
        proxy.come_loose(after=0, breaks=1_000_000, on_break=press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            hand_out_shards(rollout, Watched())


@pytest.mark.timeout(60)
def test_whoever_wanted_it_may_end_it_from_another_thread(cluster, store, monkeypatch):
    monkeypatch.setattr(receiver, "PATIENCE_S", 600.0)
    _, one = cluster.start_worker("one")
    closing = threading.Event()
    with Loose(one) as proxy:
        rollout = planned(cluster.name, store, {proxy.address: LayerRange(0, 6)})
        proxy.come_loose(after=0, breaks=1_000_000, on_break=closing.set)
        with pytest.raises(PipelineClosed):
            hand_out_shards(rollout, Watched(), closing)


def test_a_node_that_does_not_come_back_is_named_and_the_others_are_ready(
    cluster, store, monkeypatch
):
    monkeypatch.setattr(receiver, "PATIENCE_S", 1.0)
    gone, one = cluster.start_worker("one")
    _, two = cluster.start_worker("two")
    with Proxy(one, 10e6) as proxy, ThreadPoolExecutor(1) as pool:
        ranges = {proxy.address: LayerRange(0, 3), two: LayerRange(3, 6)}
        moving = pool.submit(hand_out_shards, planned(cluster.name, store, ranges), Watched())
        eventually(lambda: proxy.arrived_bytes, lambda seen: seen > LAYER_BYTES // 2)
        gone.stop()
        with pytest.raises(NodeLost, match=r"one .* does not answer"):
            moving.result(timeout=60)
    assert held(store, two) == {file.name for file in store.manifest.stage_files(3, 6)}


def test_a_shard_that_was_damaged_on_its_way_is_sent_again_from_its_beginning(cluster, store):
    _, one = cluster.start_worker("one")
    file = store.manifest.layer_file(0)
    partial = vault_of(cluster, "one") / f"{file.sha256}.partial"
    partial.write_bytes(bytes(LAYER_BYTES // 2))
    watched = Watched()
    moved = hand_out_shards(planned(cluster.name, store, {one: LayerRange(0, 6)}), watched)
    assert watched.began["one"][0] == LAYER_BYTES // 2
    assert moved.from_operator == store.manifest.size_bytes + LAYER_BYTES - LAYER_BYTES // 2
    assert watched.updates["one"][-1] == store.manifest.size_bytes
    assert len(held(store, one)) == len(store.manifest.files)


def test_a_damaged_store_is_named_with_the_way_to_verify_it(cluster, store, tmp_path):
    _, one = cluster.start_worker("one")
    for file in store.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damaged = tmp_path / "layer-03.safetensors"
    damaged.write_bytes(bytes(LAYER_BYTES))
    rollout = planned(cluster.name, Store(tmp_path), {one: LayerRange(0, 6)})
    with pytest.raises(Exception, match=r"layer-03.safetensors, sent to .*pi-cluster verify"):
        hand_out_shards(rollout, Watched())
    assert "layer-02.safetensors" in held(store, one)


def test_up_says_who_lacks_what_where_there_is_no_terminal_and_goes_on_when_killed(
    cluster, random_store
):
    _, one = cluster.start_worker("one")
    with Proxy(one, random_store.manifest.size_bytes / 2) as proxy:
        words = (str(random_store.path), "--nodes", proxy.address)
        running = cluster.start("up", *words)
        eventually(lambda: list(vault_of(cluster, "one").iterdir()), lambda seen: len(seen) > 2)
        running.send(signal.SIGKILL)
        killed = running.end()
        again = cluster.up(*words)
    everything = f"lacks shards of {output.size(random_store.manifest.size_bytes)}"
    assert everything in killed.err and everything not in again.err
    assert "one (" in again.err and "lacks shards of" in again.err and "received" in again.err
    assert "ready: 1 stage" in again.err


def test_little_is_on_its_way_to_a_node_that_does_not_take_it(cluster, tmp_path):
    store = make_store(tmp_path / "store", 1, 120_000_000)
    node, address = cluster.start_worker("one")
    file = store.manifest.layer_file(0)
    partial = vault_of(cluster, "one") / f"{file.sha256}.partial"
    with Proxy(address, 100e6) as proxy, ThreadPoolExecutor(1) as pool:
        ranges = {proxy.address: LayerRange(0, 1)}
        moving = pool.submit(hand_out_shards, planned(cluster.name, store, ranges), Watched())
        eventually(lambda: proxy.arrived_bytes, lambda seen: seen > 20e6)
        node.process.send_signal(signal.SIGSTOP)
        arrived = proxy.arrived_bytes_at_rest()
        on_its_way = arrived - partial.stat().st_size
        node.process.send_signal(signal.SIGCONT)
        assert moving.result(timeout=60).from_operator == store.manifest.size_bytes
    assert 0 < on_its_way < 1 << 20


@pytest.mark.timeout(180)
def test_ten_interruptions_at_random_send_less_than_a_twentieth_again(tmp_path):
    store = make_store(tmp_path / "store", 1, 120_000_000)
    # As fast as 100 Mbit/s: a node keeps up with that beside other tests, so little waits in it.
    outcome = interrupted_hand_out(
        store, tmp_path, times=10, bytes_per_s=12e6, seed=5, patience_s=150
    )
    assert len(outcome.interruptions) == 10 and set(outcome.interruptions) == set(Interruption)
    assert 0 < outcome.sent_again < 0.05, outcome


FAR_TOO_LARGE = 2**63


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (pb.ShardPart(sha256="../" * 20 + "etc/", size_bytes=1), "64 hexadecimal digits"),
        (pb.ShardPart(sha256="0" * 64, size_bytes=FAR_TOO_LARGE), "bytes is none"),
        (pb.ShardPart(sha256="0" * 64, size_bytes=2**50), "room for"),
        (pb.ShardPart(sha256="0" * 64, size_bytes=9, offset_bytes=5), "go on at byte 5"),
        (pb.ShardPart(sha256="0" * 64, size_bytes=1, offset_bytes=FAR_TOO_LARGE), "go on at"),
        (pb.ShardPart(sha256="0" * 64, size_bytes=1, data=b"too long"), "more than that"),
        (pb.ShardPart(sha256="0" * 64, size_bytes=1, data=b"x"), "arrived changed"),
    ],
)
def test_a_first_part_that_lies_is_refused_and_leaves_nothing(cluster, first, reason):
    _, address = cluster.start_worker("one")
    with PLAIN.connect(Peer(address)) as channel, pytest.raises(Exception, match=reason):
        rpc.WorkerStub(channel).PutShard(iter([first]), timeout=20)
    assert list(vault_of(cluster, "one").iterdir()) == []


def test_a_part_that_is_too_large_is_refused(cluster):
    _, address = cluster.start_worker("one")
    parts = [pb.ShardPart(sha256="0" * 64, size_bytes=1 << 30), pb.ShardPart(data=bytes(2 << 20))]
    with (
        PLAIN.connect(Peer(address)) as channel,
        pytest.raises(Exception, match=r"too large|at most"),
    ):
        rpc.WorkerStub(channel).PutShard(iter(parts), timeout=20)


@pytest.mark.parametrize("address", ["", "x", "pi:99999", "a" * 300 + ":1"])
def test_a_fetch_from_what_is_no_address_is_refused(cluster, address):
    _, one = cluster.start_worker("one")
    request = pb.FetchShardRequest(sha256="0" * 64, size_bytes=1, address=address)
    with (
        PLAIN.connect(Peer(one)) as channel,
        pytest.raises(Exception, match=r"HOST:PORT|characters is none"),
    ):
        list(rpc.WorkerStub(channel).FetchShard(request, timeout=20))


def test_a_fetch_from_a_node_that_is_not_there_is_no_loss_of_the_one_that_asks(cluster):
    _, one = cluster.start_worker("one")
    gone, two = cluster.start_worker("two")
    gone.stop()
    store_file = make_store(Path(cluster.folder) / "tiny", 1, 10).manifest.layer_file(0)
    with (
        NodeClient(Peer(one), PLAIN) as client,
        pytest.raises(NodeError, match="did not send a shard") as refusal,
    ):
        client.fetch_shard(store_file, Peer(two), lambda received: None)
    assert type(refusal.value) is NodeError


def test_ctrl_c_ends_a_transfer_at_once_and_keeps_what_came(cluster):
    _, one = cluster.start_worker("one")
    with Proxy(one, 300e3) as proxy:  # the embedded model would take a dozen seconds
        running = cluster.start("up", "--nodes", proxy.address)
        folder = vault_of(cluster, "one")
        eventually(lambda: list(folder.iterdir()), lambda seen: len(seen) > 1, within_s=40)
        running.send(signal.SIGINT)
        outcome = running.end(timeout_s=10)
    assert outcome.code == 130 and "Traceback" not in outcome.err, outcome
    assert "received" not in outcome.err
    assert list(folder.iterdir())


@pytest.fixture
def small_disk(cluster):
    """A disk for a worker named "one": beside the 64 MiB that stay free, 14 MiB are left."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    folder = cluster.folder / "one"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=78m", "none", str(folder)]
    mounted = subprocess.run(words, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr}")
    yield folder
    cluster.stop_commands()
    subprocess.run(["umount", str(folder)], check=True)


def test_a_small_disk_gets_room_for_the_next_plan_and_no_more_than_it_has(
    cluster, store, small_disk
):
    _, one = cluster.start_worker("one")
    hand_out_shards(planned(cluster.name, store, {one: LayerRange(0, 3)}), Watched())
    with pytest.raises(NodeError, match=r"one .* needs 90\d+ bytes for its shards and has [1-5]"):
        hand_out_shards(planned(cluster.name, store, {one: LayerRange(0, 6)}), Watched())
    hand_out_shards(planned(cluster.name, store, {one: LayerRange(3, 6)}), Watched())
    names = {file.name for file in store.manifest.stage_files(3, 6)}
    assert names < held(store, one) < {file.name for file in store.manifest.files}
    assert shutil.disk_usage(small_disk).free >= 64 << 20
