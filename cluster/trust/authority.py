"""A cluster's authority: it signs certificates, takes them back, and can be replaced.

Its folder is the operator's, and has beside the credentials of operator and coordinator
(``cluster/trust/credentials.py``):

    authority.key, authority.pem     what signs
    *.next                           its successor, while nodes learn to trust it
    nodes.json                       every certificate that was issued and still matters
"""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from cryptography import x509

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.atomic_file import locked, write_bytes
from pi_cluster.cluster.errors import AccessError, StateError
from pi_cluster.cluster.trust import certificates, credentials, signing
from pi_cluster.cluster.trust.certificates import Revocations, key_hash, utc_now
from pi_cluster.cluster.trust.credentials import REVOCATIONS
from pi_cluster.cluster.trust.holdings import AUTHORITIES, AUTHORITY_KEY, can_sign, is_initialised
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.trust.key_proof import KeyProof
from pi_cluster.cluster.trust.ledger import Issued, Ledger
from pi_cluster.cluster.trust.private_files import make_private_folder, read_file, read_private

_CERTIFICATE = "authority.pem"
_NEXT = ".next"
_PARTIAL = ".partial"
_OWN_ROLES = (Role.OPERATOR, Role.COORDINATOR)
_MAX_NAME = 64


class ClusterAuthority:
    """The authority in a folder. Every change is on disk when its method returns.

    Several processes and threads may use one folder: each change holds its lock.
    """

    def __init__(self, folder: Path, cluster: str) -> None:
        """Open what `create` made. Raises ``AccessError`` when it is not in order."""
        if not is_initialised(folder):
            raise AccessError(
                f"cluster {cluster!r} has no certificates on this machine: make them with "
                f"`{command(cluster, 'init')}`"
            )
        if not can_sign(folder):
            raise AccessError(
                f"this machine may ask cluster {cluster!r} but not change it: its authority's key "
                f"is not in {folder}. Run this where `{command(cluster, 'init')}` was run"
            )
        self.folder = folder
        self.cluster = cluster
        self._ledger = Ledger(folder)
        self._load()

    @classmethod
    def create(cls, folder: Path, cluster: str) -> Self:
        """Make an authority, and certificates for this user as operator and coordinator.

        Raises ``StateError`` when the folder has one already. Interrupted, it leaves nothing.
        """
        if is_initialised(folder):
            raise StateError(
                f"cluster {cluster!r} has an authority already, in {folder}: see "
                f"`{command(cluster, 'authority', 'show')}`; "
                f"`{command(cluster, 'authority', 'rotate')}` replaces it"
            )
        making = folder.with_name(folder.name + _PARTIAL)
        shutil.rmtree(making, ignore_errors=True)
        make_private_folder(making)
        _make_authority(making, cluster, "")
        write_bytes(making / AUTHORITIES, read_file(making / _CERTIFICATE))
        Ledger(making).write(1, [])
        authority = cls(making, cluster)
        authority._sign_revocations()
        authority.renew_own()
        try:
            making.replace(folder)
        except OSError as error:
            raise StateError(
                f"{folder} is in the way ({error.strerror}): move what is there, then run the same "
                "command again"
            ) from None
        return cls(folder, cluster)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the authority's public key: what join tokens pin."""
        return key_hash(self._certificate)

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's own certificate."""
        return self._certificate

    @property
    def authorities_pem(self) -> bytes:
        """Whom to trust: this authority, and another one while they change."""
        return read_file(self.folder / AUTHORITIES)

    @property
    def authorities(self) -> Sequence[x509.Certificate]:
        """Those of `authorities_pem`."""
        return certificates.read_authorities(self.authorities_pem)

    @property
    def revocations_pem(self) -> bytes:
        """The newest revocation list."""
        return read_file(self.folder / REVOCATIONS)

    @property
    def revocations_number(self) -> int:
        """The number of the newest revocation list."""
        return self._ledger.read()[0]

    @property
    def revoked(self) -> Revocations:
        """What it says."""
        return certificates.read_revocations(self.revocations_pem, self.authorities)

    @property
    def issued(self) -> list[Issued]:
        """Certificates of nodes and granted coordinators, oldest first."""
        return self._ledger.read()[1]

    @property
    def good(self) -> list[Issued]:
        """Those of `issued` that others still believe."""
        trusted = {key_hash(authority).hex() for authority in self.authorities}
        now = utc_now().timestamp()
        return [
            one
            for one in self.issued
            if not one.revoked and one.expires_unix_s > now and one.authority in trusted
        ]

    @property
    def news(self) -> Certification:
        """What everybody is to know: the authorities and the revocation list."""
        return Certification(b"", self.authorities_pem, self.revocations_pem)

    def issue(
        self,
        signing_request: bytes,
        identity: Identity,
        name: str,
        proof: KeyProof | None = None,
    ) -> Certification:
        """A certificate for the key of a request (PKCS #10, DER), and what goes with it.

        Raises ``AccessError`` for a request that is none, for an id that was revoked, and for one
        that is another node's, as :meth:`check_claim` says.
        """
        key = key_hash(certificates.read_signing_request(signing_request))
        held = proof.held_key(signing_request) if proof else None
        return self._issue(signing_request, identity, name, [key, held] if held else [key])

    def renew(self, signing_request: bytes, identity: Identity, name: str) -> Certification:
        """As :meth:`issue`, for a request that came over TLS from who has the id's certificate."""
        return self._issue(signing_request, identity, name, None)

    def check_claim(self, identity: Identity, key: bytes) -> None:
        """Raise ``AccessError`` when the holder of a key, given by its hash, must not get an id."""
        self._check_claim(self.issued, identity, [key])

    def _check_claim(
        self, issued: Sequence[Issued], identity: Identity, keys: Sequence[bytes] | None
    ) -> None:
        """A node's id belongs to the key that first had it, and to those that one led to.

        None for ``keys`` stands for a connection on which they were proven. Coordinators are
        called as the operator calls them, who makes their keys.
        """
        earlier = [one for one in issued if one.id == identity.id]
        if any(one.revoked for one in earlier):
            raise AccessError(
                f"{identity.label} was revoked, which is for ever: let it take part under a "
                "new id (remove node.json and credentials/ from its data directory)"
            )
        if any(one.role is not identity.role for one in earlier):
            raise AccessError(f"{identity.id!r} is taken already: choose another name")
        if identity.role is not Role.NODE or keys is None or not earlier:
            return
        if not {one.key for one in earlier} & {key.hex() for key in keys}:
            raise AccessError(
                f"node {identity.id} ({earlier[-1].name}) has a certificate already, and this one "
                "cannot show that it has that node's key: if its card was copied or set up anew, "
                "or its key was lost, remove node.json and credentials/ from its data directory, "
                "so that it gets an id of its own; its shards stay"
            )

    def _issue(
        self,
        signing_request: bytes,
        identity: Identity,
        name: str,
        keys: Sequence[bytes] | None,
    ) -> Certification:
        public_key = certificates.read_signing_request(signing_request)
        if identity.cluster != self.cluster:
            raise AccessError(f"this is the authority of {self.cluster!r}, not {identity.cluster}")
        with locked(self.folder):
            number, issued = self._ledger.read()
            self._check_claim(issued, identity, keys)
            certificate = signing.make_certificate(
                self._certificate, self._key, public_key, identity, utc_now()
            )
            if identity.id not in _own_ids(identity.role):
                expires = certificate.not_valid_after_utc.timestamp()
                entry = Issued(
                    role=identity.role,
                    id=identity.id,
                    name=name[:_MAX_NAME],
                    serial=certificate.serial_number,
                    key=key_hash(public_key).hex(),
                    expires_unix_s=expires,
                    authority=self.fingerprint.hex(),
                )
                self._ledger.write(number, [*issued, entry])
        pem = certificates.certificate_pem(certificate)
        return Certification(pem, self.authorities_pem, self.revocations_pem)

    def revoke(self, subject_id: str) -> int:
        """Take back every certificate of a node or granted coordinator, for ever.

        Returns the number of the new revocation list. Raises ``AccessError`` for an unknown id.
        """
        with locked(self.folder):
            number, issued = self._ledger.read()
            if not any(one.id == subject_id for one in issued):
                raise AccessError(
                    f"no certificate was issued for {subject_id!r}: see "
                    f"`{command(self.cluster, 'node', 'list')}`"
                )
            marked = [replace(one, revoked=True) if one.id == subject_id else one for one in issued]
            self._ledger.write(number + 1, marked)
            self._sign_revocations()
            return number + 1

    def renew_own(self) -> None:
        """New keys and certificates for this user as operator and as coordinator."""
        for role in _OWN_ROLES:
            identity = Identity(self.cluster, role, str(role))
            request = credentials.request_certificate(self.folder, role, str(role))
            credentials.install(
                self.folder, role, self.issue(request, identity, str(role)), identity
            )

    @property
    def has_successor(self) -> bool:
        """Whether a next authority has been made that signs nothing yet."""
        return (self.folder / (_CERTIFICATE + _NEXT)).exists()

    @property
    def has_predecessor(self) -> bool:
        """Whether the authority from before is still trusted."""
        return not self.has_successor and len(self.authorities) > 1

    def prepare_successor(self) -> None:
        """Make the next authority and trust it; the present one signs on until `succeed`."""
        with locked(self.folder):
            if not self.has_successor:
                _make_authority(self.folder, self.cluster, _NEXT)
            successor = read_file(self.folder / (_CERTIFICATE + _NEXT))
            pem = read_file(self.folder / _CERTIFICATE) + successor
            write_bytes(self.folder / AUTHORITIES, pem)

    def succeed(self) -> None:
        """Let the next authority sign from now on. Everybody must trust it already."""
        with locked(self.folder):
            # The certificate first: `_load` finds the key that belongs to it after a power cut.
            (self.folder / (_CERTIFICATE + _NEXT)).replace(self.folder / _CERTIFICATE)
            self._load()
            number, issued = self._ledger.read()
            self._ledger.write(number + 1, issued)
            self._sign_revocations()
        self.renew_own()

    def forget_predecessor(self) -> None:
        """Trust the present authority alone. What the one before signed is worth nothing then."""
        if not self._own_are_renewed():
            self.renew_own()
        with locked(self.folder):
            # A higher number than any node holds: `up` tells all that did not hear of this.
            number, issued = self._ledger.read()
            self._ledger.write(number + 1, issued)
            self._sign_revocations()
            write_bytes(self.folder / AUTHORITIES, read_file(self.folder / _CERTIFICATE))

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether the present authority, not the one before, signed a certificate."""
        with contextlib.suppress(AccessError):
            certificates.check_issuer(certificate, [self._certificate])
            return True
        return False

    def _own_are_renewed(self) -> bool:
        return all(
            self.signed(certificates.read_certificate(read_file(self.folder / f"{role}.pem")))
            for role in _OWN_ROLES
        )

    def _load(self) -> None:
        self._certificate = certificates.read_certificate(read_file(self.folder / _CERTIFICATE))
        for name in (AUTHORITY_KEY, AUTHORITY_KEY + _NEXT):
            if (self.folder / name).exists():
                key = certificates.read_key(read_private(self.folder / name))
                if key_hash(key) == key_hash(self._certificate):
                    self._key = key
                    (self.folder / name).replace(self.folder / AUTHORITY_KEY)
                    return
        raise AccessError(
            f"{self.folder / AUTHORITY_KEY} is not the key of {_CERTIFICATE} beside it: put both "
            "back from a backup"
        )

    def _sign_revocations(self) -> None:
        number, issued = self._ledger.read()
        revoked = Revocations(number, frozenset(one.serial for one in issued if one.revoked))
        pem = signing.make_revocations(self._certificate, self._key, revoked, utc_now())
        write_bytes(self.folder / REVOCATIONS, pem)


def _make_authority(folder: Path, cluster: str, suffix: str) -> None:
    key = signing.new_key()
    certificate = signing.make_authority(key, cluster, utc_now())
    write_bytes(folder / (AUTHORITY_KEY + suffix), certificates.key_pem(key), private=True)
    write_bytes(folder / (_CERTIFICATE + suffix), certificates.certificate_pem(certificate))


def _own_ids(role: Role) -> tuple[str, ...]:
    """Ids that the operator's own certificates have, which are no entries of the list."""
    return (str(role),) if role in _OWN_ROLES else ()
