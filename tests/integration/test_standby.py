"""`up --replicas`: layers lie on more than one disk, and a lost node costs no transfer."""

import contextlib
import signal
from dataclasses import replace

import pytest

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.healing.healer import Healer
from pi_cluster.coordinator.healing.taking_in import TakingIn
from pi_cluster.coordinator.pipeline.asker import dialer_to_ask
from pi_cluster.coordinator.pipeline.rollout import load_stages
from pi_cluster.coordinator.pipeline.transfer import hand_out_copies, hand_out_shards
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.coordinator.planning.standby import Copies, layer_files
from pi_cluster.transformer.config_form import read_config
from tests.integration.test_transfer import Watched, files_of, planned
from tests.support.worker_servers import PLAIN

NAMES = ("one", "two", "three")
LONG = ("--max-tokens", "1200")
HEALED_S = 60.0


@pytest.fixture
def three(make_cluster):
    """Workers that nobody starts again, their cluster, and how its model is brought up."""
    with make_cluster() as cluster:
        workers = {name: cluster.start_worker(name) for name in NAMES}
        words = ("--replicas", "2", "--nodes", ",".join(where for _, where in workers.values()))
        yield cluster, workers, words


@contextlib.contextmanager
def idle_program(cluster):
    """What mends and takes in for a program that stays while nobody asks it."""
    with cluster.environment():
        record = cluster.record()
        dialer = dialer_to_ask(cluster.name, record)
        with contextlib.closing(Healer(cluster.name, record.manifest.digest, dialer, print)) as one:
            yield TakingIn(record, one, lambda: True)


def held(manifest, address):
    """The layers on a node's disk, as it tells."""
    files = layer_files(manifest)
    with NodeClient(Peer(address), PLAIN) as client:
        digests = client.find_shards(list(files.values())).held
    return {layer for layer, file in files.items() if file.sha256 in digests}


@pytest.mark.parametrize("lost", NAMES)
def test_whoever_is_gone_for_good_the_others_go_on_and_nothing_travels(
    three, shared_story, endless, lost
):
    cluster, workers, words = three
    cluster.up(*words)
    left = [name for name in NAMES if name != lost]
    before = {name: files_of(cluster, name) for name in left}
    running = cluster.start("prompt", *endless, *LONG)
    running.read(50)
    workers[lost][0].send(signal.SIGKILL)
    outcome = running.end(HEALED_S)
    undisturbed = shared_story.call("prompt", *endless, *LONG).out
    assert (outcome.code, outcome.out) == (0, undisturbed), outcome.err
    assert f"going on with {left[0]} and {left[1]}" in outcome.err
    assert {name: files_of(cluster, name) for name in left} == before
    record = cluster.record()
    assert [stage.name for stage in record.addresses] == left
    stages = {stage.node_id: stage.layers for stage in record.addresses}
    for one in record.copies:
        own = stages[one.node_id]
        assert not set(range(own.start, own.stop)) & set(one.layers)


def test_up_hands_copies_out_once_the_pipeline_is_ready_and_says_where_they_are(three):
    cluster, _, words = three
    told = cluster.up(*words).err
    assert told.index("ready: 3 stages") < told.index("copies stand by on ")
    record = cluster.record()
    assert record.call.replicas == 2
    plan_now = record.stages
    assert len(plan_now) == 3 and record.copies
    by_id = {one.where.node_id: one.where for one in plan_now}
    for one in record.copies:
        assert set(one.layers) <= held(record.manifest, by_id[one.node_id].address)
    each = [layer for one in record.copies for layer in one.layers]
    assert sorted(each) == sorted(layer_files(record.manifest))

    status = cluster.run("status")
    first = record.copies[0]
    assert f"standing by: {first.name} for " in status.out
    told = cluster.run("status", "--json").json()["standby"]
    assert [one["node"] for one in told] == [one.name for one in record.copies]

    before = {name: files_of(cluster, name) for name in NAMES}
    again = cluster.up(*words)
    assert "already up" in again.err and "lacks" not in again.err
    assert cluster.record().copies == record.copies
    assert {name: files_of(cluster, name) for name in NAMES} == before


def test_copies_that_a_loss_has_cost_are_made_again_while_nobody_asks(three):
    cluster, workers, words = three
    cluster.up(*words)
    with idle_program(cluster) as taking_in:
        assert not taking_in.once(), "no copy is missing"
        workers["two"][0].send(signal.SIGKILL)
        workers["two"][0].process.wait()
        assert taking_in.once()
        before = cluster.run("status")
        every = len(layer_files(cluster.record().manifest))
        assert f"of {every} shards lie on fewer than 2 disks" in before.out
        assert taking_in.once(), "they are made"
        assert not taking_in.once()
    record = cluster.record()
    assert not record.lacking_copies
    by_id = {one.node_id: one.address for one in record.addresses}
    for one in record.copies:
        assert set(one.layers) <= held(record.manifest, by_id[one.node_id])
    assert "disks" not in cluster.run("status").out
    assert "copies stand by again on one and three" in cluster.run("events").out


def test_up_makes_copies_that_a_loss_has_cost(three):
    cluster, workers, words = three
    cluster.up(*words)
    workers["two"][0].send(signal.SIGKILL)
    workers["two"][0].process.wait()
    with idle_program(cluster) as taking_in:
        assert taking_in.once()
    assert cluster.status()["lacking_copies"] > 0
    left = ",".join(workers[name][1] for name in ("one", "three"))
    assert "already up" in cluster.up("--replicas", "2", "--nodes", left).err
    assert cluster.status()["lacking_copies"] == 0


def test_plan_shows_where_copies_would_stand_by_and_hands_out_none(three):
    cluster, _, words = three
    planned_now = cluster.run("plan", *words)
    assert "standing by: " in planned_now.out
    (one, *_) = cluster.run("plan", *words, "--json").json()["plans"]
    assert any(kept["embedding"] for kept in one["standby"])
    assert all(not files_of(cluster, name) for name in NAMES)


def test_a_node_alone_is_told_that_copies_take_another_one(cluster):
    _, address = cluster.start_worker("only")
    outcome = cluster.up("--nodes", address, "--replicas", "2")
    assert outcome.code == 0
    assert "--replicas 2 takes 2 nodes, and there are 1: add one" in outcome.err


def test_a_node_without_a_stage_keeps_copies_through_later_loads(cluster, random_store):
    _, one = cluster.start_worker("one")
    _, spare = cluster.start_worker("spare")
    manifest = random_store.manifest
    limits = choose_limits(read_config(manifest.config), None)
    rollout = planned(
        cluster.name, random_store, {one: LayerRange(0, 6)}, besides=[spare], limits=limits
    )
    hand_out_shards(rollout, Watched())
    load_stages(rollout, 1)
    (spare_id,) = rollout.nodes.keys() - {stage.node_id for stage in rollout.plan.stages}
    rollout = replace(rollout, copies=(Copies(spare_id, "spare", (3, 4, 5, 6)),))
    moved, failures = hand_out_copies(rollout, Watched())
    assert not failures and not moved.from_operator and moved.between_nodes
    assert held(manifest, spare) == {3, 4, 5, 6}

    ranges = {one: LayerRange(0, 5), spare: LayerRange(5, 6)}
    later = planned(cluster.name, random_store, ranges, limits=limits)
    load_stages(later, 2)
    assert held(manifest, spare) == {3, 4, 5, 6}


def test_a_node_that_is_gone_costs_the_others_no_copies(cluster, random_store):
    _, one = cluster.start_worker("one")
    running, two = cluster.start_worker("two")
    _, three = cluster.start_worker("three")
    rollout = planned(cluster.name, random_store, {one: LayerRange(0, 6)}, besides=[two, three])
    hand_out_shards(rollout, Watched())
    ids = {node.about.name: node_id for node_id, node in rollout.nodes.items()}
    copies = tuple(Copies(ids[name], name, (0, 1)) for name in ("two", "three"))
    running.send(signal.SIGKILL)
    _, failures = hand_out_copies(replace(rollout, copies=copies), Watched())
    assert list(failures) == [ids["two"]]
    assert held(random_store.manifest, three) == {0, 1}
