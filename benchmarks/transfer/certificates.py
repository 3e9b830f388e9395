"""Certificates for measured clusters, as ``pi-cluster init`` and ``up`` make them."""

from pathlib import Path

from benchmarks.workers import CLUSTER
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.credentials import LiveCredentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.wire.secure_dialing import SecureDialer
from pi_cluster.worker.trust.node_credentials import install_certification, request_certificate


def make_authority(folder: Path) -> ClusterAuthority:
    """An authority for the cluster of benchmarks, with the operator's certificate."""
    return ClusterAuthority.create(folder, CLUSTER)


def certify(authority: ClusterAuthority, data_dir: Path) -> None:
    """Make the worker of a data directory a node of the cluster; it serves TLS from its start."""
    node_id, request = request_certificate(data_dir)
    given = authority.issue(request, Identity(CLUSTER, Role.NODE, node_id), data_dir.name)
    install_certification(data_dir, CLUSTER, given)


def operator_dialer(authority: Path) -> SecureDialer:
    """What the operator calls nodes with."""
    return SecureDialer(LiveCredentials(authority, Role.OPERATOR))
