"""Authorities for tests, and credentials by them: good ones and worthless ones."""

import datetime
from pathlib import Path

from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.trust import certificates, installing, signing
from pi_cluster.cluster.trust.authority import ClusterAuthority
from pi_cluster.cluster.trust.certificates import utc_now
from pi_cluster.cluster.trust.credentials import LiveCredentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.worker.trust.node_credentials import install_certification, request_with_proof

CLUSTER = "home"


def certify_node(authority: ClusterAuthority, data_dir: Path, name: str = "pi") -> str:
    """Give a data directory a node's certificate, as `up` does over SSH; returns the node's id."""
    node_id, request, proof = request_with_proof(data_dir)
    identity = Identity(authority.cluster, Role.NODE, node_id)
    given = authority.issue(request, identity, name, proof)
    install_certification(data_dir, authority.cluster, given)
    return node_id


def credentials_of(authority: ClusterAuthority, folder: Path, role: Role, name: str) -> Path:
    """A folder with credentials for somebody, issued as the authority issues them."""
    identity = Identity(authority.cluster, role, name)
    request = installing.request_certificate(folder, role, name)
    installing.install(folder, role, authority.issue(request, identity, name), identity)
    return folder


def dated_credentials(
    authority: ClusterAuthority, folder: Path, role: Role, name: str, shift: datetime.timedelta
) -> Path:
    """Such a folder, with a certificate that was made this much later than now, or earlier."""
    folder.mkdir(parents=True)
    key = signing.new_key()
    certificate = signing.make_certificate(
        authority.certificate,
        certificates.read_key((authority.folder / "authority.key").read_bytes()),
        key.public_key(),
        Identity(authority.cluster, role, name),
        utc_now() + shift,
    )
    write_bytes(folder / f"{role}.key", certificates.key_pem(key), private=True)
    write_bytes(folder / f"{role}.pem", certificates.certificate_pem(certificate))
    write_bytes(folder / "authorities.pem", authority.authorities_pem)
    return folder


def live(folder: Path, role: Role) -> LiveCredentials:
    """What a dialer or a guard uses."""
    return LiveCredentials(folder, role)
