"""Copies of shards on other nodes' disks: asked what they have room for, and placed."""

import collections
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.speed import Link, NodeProfile
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.coordinator.pipeline.measuring import capacities
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.pipeline.rollout import Rollout
from pi_cluster.coordinator.planning.footprint import model_footprint
from pi_cluster.coordinator.planning.plan import Plan
from pi_cluster.coordinator.planning.standby import (
    Copies,
    layer_files,
    place_copies,
    without_copies,
)
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.transformer.config_form import read_config
from pi_cluster.transformer.limits import Limits

log = logging.getLogger(__name__)

_DISK_SHARE = 0.9  # of what is free after the stages; a card that is full is slow, and wears out
_NO_LINK = Link(1e-6, 1e12)  # where copies lie does not depend on links


def with_copies(rollout: Rollout, replicas: int, previous: PipelineRecord | None) -> Rollout:
    """The same rollout with each shard on as many disks, where these have room.

    Copies stay where the record has them if stages do: what is free on disks moves all the time.
    """
    if replicas == 1:
        return rollout
    if previous and _are_in_place(rollout, replicas, previous):
        return replace(rollout, copies=previous.copies)
    placed = place_on_nodes(
        *(rollout.manifest, rollout.limits, rollout.plan, replicas),
        *(list(rollout.nodes.values()), rollout.dialer),
    )
    return replace(rollout, copies=placed)


def place_on_nodes(
    manifest: Manifest,
    limits: Limits,
    plan: Plan,
    replicas: int,
    nodes: Sequence[Node],
    dialer: Dialer,
) -> tuple[Copies, ...]:
    """Where copies go, by what the nodes hold of a store and have room for.

    A node that does not answer keeps none, and is planned without.
    """
    with ThreadPoolExecutor(len(nodes)) as pool:
        looks = list(pool.map(lambda node: _look(manifest, node, dialer), nodes))
    disks = {node.about.node_id: look for node, look in zip(nodes, looks, strict=True) if look}
    there = [node for node in nodes if node.about.node_id in disks]
    known = capacities(there, [one.profile for one in disks.values()], [_NO_LINK] * len(there))
    return place_copies(
        model_footprint(manifest, read_config(manifest.config), limits),
        known,
        plan,
        replicas,
        _room_bytes(manifest, plan, there, disks),
        {node_id: disk.held for node_id, disk in disks.items()},
    )


def lacking_copies(rollout: Rollout, replicas: int) -> str:
    """What there was no room for, in a sentence; empty where there was."""
    total = rollout.manifest.n_layers
    lacking = without_copies(rollout.copies, total, replicas)
    if not lacking:
        return ""
    if len(rollout.nodes) < replicas:
        return (
            f"--replicas {replicas} takes {replicas} nodes, and there are {len(rollout.nodes)}: "
            "add one"
        )
    return (
        f"{len(lacking)} of {total + 2} shards lie on fewer than {replicas} disks, since others "
        "have no room for them: free some space on the nodes, then run the same command again"
    )


@dataclass(frozen=True, slots=True)
class _Disk:
    held: frozenset[int]
    """Layers of the store."""
    free_bytes: int
    """Beside these."""
    profile: NodeProfile


def _look(manifest: Manifest, node: Node, dialer: Dialer) -> _Disk | None:
    files = layer_files(manifest)
    try:
        with NodeClient(node.peer, dialer) as client:
            # In this order: what was asked after does not count as free.
            held = client.find_shards(list(files.values())).held
            free_bytes = client.describe().free_disk_bytes
            profile = client.measure_node()
    except ClusterError as error:
        log.info("%s gets no copies: %s", node.label, error)
        return None
    there = frozenset(layer for layer, file in files.items() if file.sha256 in held)
    return _Disk(there, free_bytes, profile)


def _room_bytes(
    manifest: Manifest, plan: Plan, nodes: Sequence[Node], disks: Mapping[str, _Disk]
) -> dict[str, int]:
    """What copies may take at each node: of a machine's disk, once all its stages lie there."""
    machines: dict[str, list[str]] = collections.defaultdict(list)
    for node in nodes:
        machines[node.about.machine_id].append(node.about.node_id)
    digests = {layer: file.sha256 for layer, file in layer_files(manifest).items()}
    lacking = dict.fromkeys(disks, 0)
    for stage in (one for one in plan.stages if one.node_id in disks):
        held = {digests[layer] for layer in disks[stage.node_id].held}
        files = manifest.stage_files(stage.layers.start, stage.layers.stop)
        lacking[stage.node_id] = sum(one.size_bytes for one in files if one.sha256 not in held)
    room: dict[str, int] = {}
    for together in machines.values():
        free_bytes = min(disks[one].free_bytes for one in together)
        left = max(0, free_bytes - sum(lacking[one] for one in together))
        room |= dict.fromkeys(together, int(left * _DISK_SHARE) // len(together))
    return room


def _are_in_place(rollout: Rollout, replicas: int, previous: PipelineRecord) -> bool:
    before = [(one.node_id, one.layers) for one in previous.addresses]
    return (
        previous.manifest.digest == rollout.manifest.digest
        and before == [(one.node_id, one.layers) for one in rollout.plan.stages]
        and previous.call is not None
        and previous.call.replicas == replicas
        and {one.node_id for one in previous.copies} <= rollout.nodes.keys()
        and not without_copies(previous.copies, rollout.manifest.n_layers, replicas)
    )
