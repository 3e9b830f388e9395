"""What an authority signs with: its key and certificate on disk, and those of its successor.

authority.key, authority.pem     what signs
*.next                           its successor, while nodes learn to trust it
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.private_files import read_file, read_private
from pi_cluster.cluster.trust import certificates, signing
from pi_cluster.cluster.trust.certificates import Revocations, key_hash, utc_now
from pi_cluster.cluster.trust.holdings import AUTHORITY_KEY
from pi_cluster.cluster.trust.identity import Identity

_CERTIFICATE = "authority.pem"
_NEXT = ".next"


class SigningPair:
    """The key and the certificate that sign now; whoever changes them holds the folder's lock.

    The certificate decides which authority that is, and the key that belongs to it is found under
    its own name or as ``.next``: so a power cut between two renamings costs nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Raises ``AccessError`` when no key there belongs to the certificate."""
        self._folder = folder
        self._load()

    @classmethod
    def make(cls, folder: Path, cluster: str) -> "SigningPair":
        """A cluster's first authority."""
        _make(folder, cluster, "")
        return cls(folder)

    @property
    def pem(self) -> bytes:
        """The certificate's file."""
        return read_file(self._folder / _CERTIFICATE)

    @property
    def has_next(self) -> bool:
        """Whether a successor has been made."""
        return (self._folder / (_CERTIFICATE + _NEXT)).exists()

    @property
    def next_pem(self) -> bytes:
        """The successor's certificate."""
        return read_file(self._folder / (_CERTIFICATE + _NEXT))

    def make_next(self, cluster: str) -> None:
        """Make a successor, which signs nothing yet."""
        _make(self._folder, cluster, _NEXT)

    def become_next(self) -> None:
        """Let the successor sign from now on."""
        # The certificate first: `_load` finds the key that belongs to it after a power cut.
        (self._folder / (_CERTIFICATE + _NEXT)).replace(self._folder / _CERTIFICATE)
        self._load()

    def certify(
        self, public_key: ec.EllipticCurvePublicKey, identity: Identity
    ) -> x509.Certificate:
        """A certificate for somebody's key."""
        return signing.make_certificate(
            self.certificate, self._key, public_key, identity, utc_now()
        )

    def revoke(self, revoked: Revocations) -> bytes:
        """A revocation list, in PEM."""
        return signing.make_revocations(self.certificate, self._key, revoked, utc_now())

    def _load(self) -> None:
        self.certificate = certificates.read_certificate(self.pem)
        for name in (AUTHORITY_KEY, AUTHORITY_KEY + _NEXT):
            if (self._folder / name).exists():
                key = certificates.read_key(read_private(self._folder / name))
                if key_hash(key) == key_hash(self.certificate):
                    self._key = key
                    (self._folder / name).replace(self._folder / AUTHORITY_KEY)
                    return
        raise AccessError(
            f"{self._folder / AUTHORITY_KEY} is not the key of {_CERTIFICATE} beside it: put both "
            "back from a backup"
        )


def _make(folder: Path, cluster: str, suffix: str) -> None:
    key = signing.new_key()
    certificate = signing.make_authority(key, cluster, utc_now())
    write_bytes(folder / (AUTHORITY_KEY + suffix), certificates.key_pem(key), private=True)
    write_bytes(folder / (_CERTIFICATE + suffix), certificates.certificate_pem(certificate))
