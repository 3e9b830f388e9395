"""The pipeline on some of its nodes: brought up as its operator has brought it up, with fewer."""

from collections.abc import Sequence

from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.pipeline.nodes import ask_nodes
from pi_cluster.coordinator.records.kept_record import load_record
from pi_cluster.coordinator.records.known_nodes import known_nodes
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.records.up_call import UpCall
from pi_cluster.deploy.as_before import open_store
from pi_cluster.deploy.bringing_up import Change, bring_up, have_stand_by
from pi_cluster.deploy.calling import dialer_for
from pi_cluster.deploy.taking_turns import in_turn


def counts(nodes: int) -> list[int]:
    """How many nodes are measured: all of them first, then 1, 2, 4 and so on."""
    fewer = [1 << power for power in range(nodes.bit_length()) if 1 << power < nodes]
    return [nodes, *fewer]


def all_nodes(record: PipelineRecord) -> list[Peer]:
    """Those of a pipeline in its order, and those that were offered and got no layer."""
    peers = [stage.peer for stage in record.addresses]
    left_out = set(record.unused)
    known = known_nodes(record.folder.name) if left_out else []
    return peers + [peer for peer in known if peer.node_id in left_out]


def bring_up_on(cluster: str, peers: Sequence[Peer], *, for_good: bool = False) -> PipelineRecord:
    """What is up, on these nodes; raises ``PlanError`` where it does not fit them.

    The record keeps how its operator called `up`, so that a plain `up` always brings that back.
    Copies are handed out only if it stays ``for_good``.
    """
    with in_turn(cluster) as folder:
        before = load_record(cluster)
        call = before.call or UpCall()
        dialer = dialer_for(cluster, before.insecure)
        store = open_store(call, call, cluster)
        nodes = ask_nodes(peers, cluster, dialer)
        change = Change(cluster, folder, before, call, before.insecure)
        rollout = bring_up(change, store, nodes, dialer)
    if for_good:
        have_stand_by(rollout, call.replicas)
    return load_record(cluster)
