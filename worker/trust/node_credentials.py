"""What a node keeps in ``DATA_DIR/credentials/`` to take part in a cluster with certificates."""

import contextlib
import threading
from pathlib import Path

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.private_files import read_private
from pi_cluster.cluster.trust import certificates, installing, signing
from pi_cluster.cluster.trust.certificates import Key
from pi_cluster.cluster.trust.credentials import LiveCredentials
from pi_cluster.cluster.trust.holdings import has_credentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.trust.key_proof import KeyProof
from pi_cluster.worker.identity import load_identity

_FOLDER = "credentials"
_KEY = f"{Role.NODE}.key"
_NEXT_KEY = f"{_KEY}.next"


def credentials_folder(data_dir: Path) -> Path:
    """Where a node's key and certificates lie."""
    return data_dir / _FOLDER


def is_certified(data_dir: Path) -> bool:
    """Whether the node has a certificate, good or not."""
    return has_credentials(credentials_folder(data_dir), Role.NODE)


def node_identity(data_dir: Path, cluster: str) -> Identity:
    """Who the node is in a cluster; made up on its first start."""
    return Identity(cluster, Role.NODE, load_identity(data_dir).node_id)


def request_certificate(data_dir: Path) -> tuple[str, bytes]:
    """The node's id, and a signing request (PKCS #10, DER) for a new key of its own."""
    data_dir.mkdir(parents=True, exist_ok=True)
    node_id = load_identity(data_dir).node_id
    folder = credentials_folder(data_dir)
    return node_id, installing.request_certificate(folder, Role.NODE, node_id)


def held_key(data_dir: Path) -> Key | None:
    """The key that the node has been known by until now; None where it has none that is whole."""
    with contextlib.suppress(AccessError):
        return certificates.read_key(read_private(credentials_folder(data_dir) / _KEY))
    return None


def request_with_proof(data_dir: Path) -> tuple[str, bytes, KeyProof | None]:
    """As :func:`request_certificate`, with what proves to the authority who asks.

    A node without a certificate asks for the key of its last request again: the authority may
    have signed for that one, and only the answer got lost.
    """
    held, folder = held_key(data_dir), credentials_folder(data_dir)
    if held is None and (folder / _NEXT_KEY).exists():
        with contextlib.suppress(AccessError):
            key = certificates.read_key(read_private(folder / _NEXT_KEY))
            node_id = load_identity(data_dir).node_id
            return node_id, signing.make_signing_request(key, node_id), None
    node_id, request = request_certificate(data_dir)
    return node_id, request, KeyProof.make(held, request) if held else None


def install_certification(data_dir: Path, cluster: str, given: Certification) -> None:
    """Check what the operator gave, and use it from now on. Raises ``AccessError``."""
    identity = node_identity(data_dir, cluster)
    installing.install(credentials_folder(data_dir), Role.NODE, given, identity)


class Membership:
    """A node's place in a cluster with certificates, while its worker runs."""

    def __init__(self, data_dir: Path, cluster: str) -> None:
        """Raises ``AccessError`` when the credentials are damaged, or another node's."""
        self.credentials = _load(data_dir, cluster)
        self._data_dir = data_dir
        self._cluster = cluster
        self._changing = threading.Lock()

    def request_certificate(self) -> bytes:
        """A signing request (PKCS #10, DER) for a new key; the present one serves on."""
        with self._changing:
            return request_certificate(self._data_dir)[1]

    def certify(self, given: Certification) -> None:
        """Use what the operator gave from now on. Raises ``AccessError``."""
        with self._changing:
            install_certification(self._data_dir, self._cluster, given)


def _load(data_dir: Path, cluster: str) -> LiveCredentials:
    live = LiveCredentials(credentials_folder(data_dir), Role.NODE)
    expected, found = node_identity(data_dir, cluster), live.current.identity
    if found != expected:
        raise AccessError(
            f"{live.current.certificate_path} is for {found}, and this worker is {expected}: "
            f"start it with --cluster {found.cluster}, or remove {live.folder} and let it join "
            "again"
        )
    return live
