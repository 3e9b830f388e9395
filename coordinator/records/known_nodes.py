"""Nodes that this user's `up` has met before, and where: `addresses.json` in the cluster's folder.

mDNS is anybody's: a goodbye in somebody else's name, or a network that loses multicast, must not
make a plan smaller than the cluster without a word. So those that answered once are asked directly.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import ClusterError, StateError
from pi_cluster.cluster.json_file import JsonFile
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.holdings import can_sign, is_initialised
from pi_cluster.cluster.wire.peer import Peer, is_loopback, told_peer
from pi_cluster.coordinator.records.kept_record import load_record

_VERSION = 1
_MOST = 256
_MAX_NAME = 64


def known_nodes(cluster: str) -> list[Peer]:
    """Those that answered an `up` and whose certificates hold.

    Who cannot tell whose do, since there are none or the authority is elsewhere, knows those of the
    last pipeline alone, with those that got no stage. Raises as ``JsonFile.read`` does.
    """
    met = _read(_file(settings.cluster_state(cluster)))
    members: set[str] = set()
    with contextlib.suppress(StateError):  # none is up, or `up` is about to replace what is torn
        record = load_record(cluster)
        of_it = [*(stage.peer for stage in record.addresses), *record.absent]
        met |= {peer.node_id: peer for peer in of_it}
        members = {*record.unused, *(peer.node_id for peer in of_it)}
    folder = settings.cluster_config(cluster)
    if can_sign(folder):
        members = {one.id for one in ClusterAuthority(folder, cluster).good}
    return [peer for node_id, peer in met.items() if node_id in members]


def addresses_file(folder: Path) -> Path:
    """Where they lie in a cluster's folder, if any were met."""
    return _file(folder).path


def remember_nodes(folder: Path, nodes: Sequence[Peer]) -> None:
    """Keep where nodes have answered; those of this machine alone are found otherwise."""
    file = _file(folder)
    met = _read(file)
    for peer in nodes:
        if not is_loopback(peer.address):
            met.pop(peer.node_id, None)
            met[peer.node_id] = peer
    latest = list(met.values())[-_MOST:]
    entries = [
        {"node_id": peer.node_id, "name": peer.name, "addresses": list(peer.addresses)}
        for peer in latest
    ]
    file.write({"nodes": entries})


def forget_nodes(folder: Path) -> None:
    """Know nobody any more."""
    _file(folder).remove()


def not_found(peer: Peer, why: ClusterError, cluster: str) -> str:
    """That a node which was met before is missing now, and what to do."""
    if is_loopback(peer.address):
        return (
            f"{peer.label} of the last pipeline was not found ({why}): going on without it; "
            f"`{command(cluster, 'up', '--local', 'N')}` starts workers of this machine again"
        )
    revoke = f"`{command(cluster, 'node', 'revoke', peer.name or peer.node_id)}`"
    gone = f"; if it is gone for good, {revoke}" if _has_certificates(cluster) else ""
    return (
        f"{peer.label} was there before and was not found ({why}): going on without it; see "
        f"whether it is on and its worker runs (`{command(cluster, 'doctor')}`){gone}"
    )


def _has_certificates(cluster: str) -> bool:
    return is_initialised(settings.cluster_config(cluster))


def _file(folder: Path) -> JsonFile:
    return JsonFile(folder / "addresses.json", "remove it; it says only where nodes were", _VERSION)


def _read(file: JsonFile) -> dict[str, Peer]:
    """By node id, those met last at the end."""
    return file.read(_peers) or {}


def _peers(values: dict[str, Any]) -> dict[str, Peer]:
    return {peer.node_id: peer for peer in map(_peer, values["nodes"][-_MOST:])}


def _peer(entry: dict[str, Any]) -> Peer:
    address, *others = map(str, entry["addresses"])
    return told_peer(address, others, str(entry["node_id"]), str(entry["name"])[:_MAX_NAME])
