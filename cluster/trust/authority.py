"""A cluster's authority: it signs certificates, takes them back, and can be replaced.

Its folder is the operator's, and has beside the credentials of operator and coordinator
(``cluster/trust/credentials.py``):

    authority.*      what signs, and its successor (``signing_pair.py``)
    nodes.json       every certificate that was issued and still matters (``ledger.py``)
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
from pi_cluster.cluster.private_files import make_private_folder, read_file
from pi_cluster.cluster.trust import certificates, claims, installing
from pi_cluster.cluster.trust.certificates import Revocations, key_hash, utc_now
from pi_cluster.cluster.trust.credentials import REVOCATIONS
from pi_cluster.cluster.trust.holdings import AUTHORITIES, can_sign, is_initialised
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification
from pi_cluster.cluster.trust.key_proof import KeyProof
from pi_cluster.cluster.trust.ledger import Issued, Ledger
from pi_cluster.cluster.trust.signing_pair import SigningPair

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
        self._signing = SigningPair(folder)

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
        write_bytes(making / AUTHORITIES, SigningPair.make(making, cluster).pem)
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
        return key_hash(self._signing.certificate)

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's own certificate."""
        return self._signing.certificate

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
        claims.check_claim(self.issued, identity, [key])

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
            claims.check_claim(issued, identity, keys)
            certificate = self._signing.certify(public_key, identity)
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
            request = installing.request_certificate(self.folder, role, str(role))
            installing.install(
                self.folder, role, self.issue(request, identity, str(role)), identity
            )

    @property
    def has_successor(self) -> bool:
        """Whether a next authority has been made that signs nothing yet."""
        return self._signing.has_next

    @property
    def has_predecessor(self) -> bool:
        """Whether the authority from before is still trusted."""
        return not self.has_successor and len(self.authorities) > 1

    def prepare_successor(self) -> None:
        """Make the next authority and trust it; the present one signs on until `succeed`."""
        with locked(self.folder):
            if not self.has_successor:
                self._signing.make_next(self.cluster)
            write_bytes(self.folder / AUTHORITIES, self._signing.pem + self._signing.next_pem)

    def succeed(self) -> None:
        """Let the next authority sign from now on. Everybody must trust it already."""
        with locked(self.folder):
            self._signing.become_next()
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
            write_bytes(self.folder / AUTHORITIES, self._signing.pem)

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether the present authority, not the one before, signed a certificate."""
        with contextlib.suppress(AccessError):
            certificates.check_issuer(certificate, [self._signing.certificate])
            return True
        return False

    def _own_are_renewed(self) -> bool:
        return all(
            self.signed(certificates.read_certificate(read_file(self.folder / f"{role}.pem")))
            for role in _OWN_ROLES
        )

    def _sign_revocations(self) -> None:
        number, issued = self._ledger.read()
        revoked = Revocations(number, frozenset(one.serial for one in issued if one.revoked))
        write_bytes(self.folder / REVOCATIONS, self._signing.revoke(revoked))


def _own_ids(role: Role) -> tuple[str, ...]:
    """Ids that the operator's own certificates have, which are no entries of the list."""
    return (str(role),) if role in _OWN_ROLES else ()
