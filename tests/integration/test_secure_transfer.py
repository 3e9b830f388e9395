"""Shards from node to node where every connection uses certificates."""

import shutil

import pytest

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.trust.identity import Role
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.coordinator.pipeline.nodes import ask_nodes
from pi_cluster.coordinator.pipeline.rollout import Rollout, load_stages, next_epoch
from pi_cluster.coordinator.pipeline.transfer import Moved, hand_out_shards
from pi_cluster.coordinator.planning.footprint import choose_limits
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.plan import Plan, PlannedStage
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.deploy.screen.output import TransferBars, bars
from pi_cluster.transformer.config_form import read_config
from tests.support.authorities import live

NOTHING_PREDICTED = Prediction(0.0, 0.0, 0.0, (), ())


@pytest.fixture
def pair(cluster, random_store):
    """Two workers with certificates, three layers each: their peers, and the operator's dialer."""
    assert cluster.call("init").code == 0
    cluster.up("--local", "2", str(random_store.path))
    with cluster.environment():
        folder = settings.cluster_config(cluster.name)
    peers = [stage.peer for stage in sorted(cluster.record().addresses, key=lambda s: s.name)]
    dialer = SecureDialer(live(folder, Role.OPERATOR))
    give(cluster, random_store, dialer, peers, [LayerRange(0, 3), LayerRange(3, 6)])
    return peers, dialer, folder


def give(cluster, store, dialer, peers, ranges):
    """Hand out and load these ranges; returns what moved."""
    nodes = ask_nodes(peers, cluster.name, dialer)
    stages = [
        PlannedStage(node.about.node_id, layers, weight_bytes=0, memory_bytes=0)
        for node, layers in zip(nodes, ranges, strict=True)
    ]
    rollout = Rollout(
        store.manifest,
        store,
        choose_limits(read_config(store.manifest.config), None),
        Objective.THROUGHPUT,
        Plan(tuple(sorted(stages, key=lambda stage: stage.layers.start))),
        NOTHING_PREDICTED,
        {node.about.node_id: node for node in nodes},
        dialer,
    )
    with bars() as progress:
        moved = hand_out_shards(rollout, TransferBars(progress))
    load_stages(rollout, next_epoch(rollout, None))
    return moved


def test_layers_that_change_places_come_from_the_other_node_alone(cluster, random_store, pair):
    peers, dialer, _ = pair
    ranges = [LayerRange(3, 6), LayerRange(0, 3)]
    moved = give(cluster, random_store, dialer, peers, ranges)
    assert moved == Moved(from_operator=0, between_nodes=random_store.manifest.size_bytes)
    for peer, layers in zip(peers, ranges, strict=True):
        files = random_store.manifest.stage_files(layers.start, layers.stop)
        with NodeClient(peer, dialer) as client:
            assert client.find_shards(files).held == {file.sha256 for file in files}
            assert client.describe().stage.layers.start == layers.start


def test_a_node_whose_certificate_was_revoked_gets_no_shard_from_another(
    cluster, random_store, pair, tmp_path
):
    (source, thief), _, folder = pair
    # With what the operator had before the revocation, the revoked node is still asked to fetch.
    shutil.copytree(folder, tmp_path / "before")
    before = SecureDialer(live(tmp_path / "before", Role.OPERATOR))
    first, second = random_store.manifest.layer_file(0), random_store.manifest.layer_file(1)
    with NodeClient(thief, before) as client:
        client.fetch_shard(first, source, lambda _: None)
        assert client.find_shards([first]).held == {first.sha256}
        revoked = cluster.call("node", "revoke", thief.name)
        assert revoked.code == 0 and "1 node told" in revoked.err, revoked
        with pytest.raises(NodeError, match=r"did not send a shard.*has been revoked"):
            client.fetch_shard(second, source, lambda _: None)
        found = client.find_shards([second])
    assert (found.held, found.partial) == (frozenset(), {})
