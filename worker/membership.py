"""What a node keeps in ``DATA_DIR/credentials/`` to take part in a cluster with certificates."""

import threading
from pathlib import Path

from cluster import credentials
from cluster.certificates import Identity, Role
from cluster.certification import Certification
from cluster.credentials import LiveCredentials, has_credentials
from cluster.errors import AccessError
from worker.identity import load_identity

_FOLDER = "credentials"


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
    return node_id, credentials.request_certificate(folder, Role.NODE, node_id)


def install_certification(data_dir: Path, cluster: str, given: Certification) -> None:
    """Check what the operator gave, and use it from now on. Raises ``AccessError``."""
    identity = node_identity(data_dir, cluster)
    credentials.install(credentials_folder(data_dir), Role.NODE, given, identity)


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
