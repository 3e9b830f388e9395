"""A folder of keys and certificates: what one process shows to others and whom it believes.

    ROLE.key           the private key, for ROLE ``node``, ``operator`` or ``coordinator``
    ROLE.pem           its certificate
    ROLE.key.next      a new key whose certificate has been asked for
    authorities.pem    who may sign certificates: one authority, two while they change
    revocations.pem    what they have taken back, newest list

Keys are mode 0600 in a folder of mode 0700. Each file is replaced as a whole.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.private_files import read_file, read_private
from pi_cluster.cluster.trust import certificates
from pi_cluster.cluster.trust.certificates import NOTHING_REVOKED, Revocations, key_hash, utc_now
from pi_cluster.cluster.trust.holdings import AUTHORITIES
from pi_cluster.cluster.trust.identity import Identity, Role

log = logging.getLogger(__name__)

REVOCATIONS = "revocations.pem"
NEXT = ".next"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What lies in such a folder, checked: the key fits the certificate, and that is signed."""

    folder: Path
    identity: Identity
    certificate: x509.Certificate
    key_pem: bytes
    certificate_pem: bytes
    authorities_pem: bytes
    authorities: Sequence[x509.Certificate]
    revoked: Revocations
    revocations_pem: bytes

    @property
    def key_path(self) -> Path:
        """The private key's file."""
        return self.folder / f"{self.identity.role}.key"

    @property
    def certificate_path(self) -> Path:
        """The certificate's file."""
        return self.folder / f"{self.identity.role}.pem"

    def check(self, certificate: x509.Certificate) -> Identity:
        """Whom another one's certificate is for. Raises ``AccessError``: "its certificate ..."."""
        identity = certificates.check_certificate(
            certificate, self.authorities, self.revoked, utc_now()
        )
        if identity.cluster != self.identity.cluster:
            raise AccessError(f"is of cluster {identity.cluster!r}")
        return identity


def load_credentials(folder: Path, role: Role) -> Credentials:
    """Read and check a folder. An expired certificate is loaded; whoever is shown it refuses it.

    Raises ``AccessError`` naming the file, and the command to run, when something is not right.
    """
    key_path, certificate_path = folder / f"{role}.key", folder / f"{role}.pem"
    certificate_data = read_file(certificate_path)
    with _naming(certificate_path):
        certificate = certificates.read_certificate(certificate_data)
        identity = certificates.identity_of(certificate)
    if identity.role is not role:
        raise AccessError(f"{certificate_path} is for a {identity.role}, not for a {role}")
    finish_renewal(key_path, certificate)
    key_data = read_private(key_path)
    with _naming(key_path):
        key = certificates.read_key(key_data)
        if key_hash(key) != key_hash(certificate):
            raise AccessError(f"it is not the key of {certificate_path.name}")
    authorities_data = read_file(folder / AUTHORITIES)
    with _naming(folder / AUTHORITIES):
        authorities = certificates.read_authorities(authorities_data)
    with _naming(folder / REVOCATIONS):
        revocations_data, revoked = held_revocations(folder, authorities)
    return Credentials(
        folder=folder,
        identity=identity,
        certificate=certificate,
        key_pem=key_data,
        certificate_pem=certificate_data,
        authorities_pem=authorities_data,
        authorities=authorities,
        revoked=revoked,
        revocations_pem=revocations_data,
    )


class LiveCredentials:
    """A folder's credentials as they are now: read again whenever a file was replaced."""

    def __init__(self, folder: Path, role: Role) -> None:
        """Raises ``AccessError`` as `load_credentials` does."""
        self._folder = folder
        self._role = role
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._loaded = load_credentials(folder, role)

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self._folder

    @property
    def current(self) -> Credentials:
        """What the folder holds; what it held before, while it is not in order."""
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps
                try:
                    self._loaded = load_credentials(self._folder, self._role)
                except AccessError as error:
                    log.warning("keeping the credentials from before: %s", error)
            return self._loaded

    def _stamps(self) -> tuple[tuple[int, int] | None, ...]:
        names = (f"{self._role}.key", f"{self._role}.pem", AUTHORITIES, REVOCATIONS)
        return tuple(_stamp(self._folder / name) for name in names)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except AccessError as error:
        raise AccessError(f"{path} cannot be used: {error}") from None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def finish_renewal(key_path: Path, certificate: x509.Certificate) -> None:
    """Put a new key in its place once its certificate is there, also after a power cut between."""
    following = key_path.with_name(key_path.name + NEXT)
    if following.exists():
        with contextlib.suppress(AccessError):
            key = certificates.read_key(read_private(following))
            if key_hash(key) == key_hash(certificate):
                following.replace(key_path)


def held_revocations(
    folder: Path, authorities: Sequence[x509.Certificate]
) -> tuple[bytes, Revocations]:
    """The revocation list of a folder, as it is and as it reads; an empty one where none lies."""
    path = folder / REVOCATIONS
    if not path.exists():
        return b"", NOTHING_REVOKED
    data = read_file(path)
    return data, certificates.read_revocations(data, authorities)
