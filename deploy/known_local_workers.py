"""Workers on this machine, as far as their folders tell of them."""

from pathlib import Path

from pi_cluster.cluster import settings
from pi_cluster.cluster.wire.peer import Peer, is_loopback
from pi_cluster.deploy import supervisor
from pi_cluster.worker.presence import Presence, find_presence


def data_dirs(cluster: str) -> list[Path]:
    """Data directories that local workers have used, by number."""
    parent = settings.local_worker_data(cluster, 0).parent
    numbered = [path for path in parent.glob("local-*") if path.name[6:].isdigit()]
    return sorted(numbered, key=lambda path: int(path.name[6:]))


def is_local(cluster: str, peer: Peer) -> bool:
    """Whether a node is, or was, a local worker of this machine."""
    return _data_dir_of(cluster, peer) is not None


def why_ended(cluster: str, peer: Peer) -> str | None:
    """Where to look why a local worker of this machine runs no more; None of any other node."""
    data_dir = _data_dir_of(cluster, peer)
    if data_dir is None:
        return None
    presence = find_presence(data_dir)
    if presence is not None and presence.node_id in ("", peer.node_id):
        return None
    return f"not running; the end of its log tells more: {log_file(cluster, peer.name)}"


def find_supervisor(data_dir: Path) -> Presence | None:
    """The process that starts a local worker again, or None."""
    return find_presence(data_dir / supervisor.FOLDER)


def log_file(cluster: str, name: str) -> Path:
    """Where a local worker writes its log."""
    return settings.cluster_state(cluster) / f"{name}.log"


def _data_dir_of(cluster: str, peer: Peer) -> Path | None:
    if not is_loopback(peer.address):
        return None
    return next((one for one in data_dirs(cluster) if one.name == peer.name), None)
