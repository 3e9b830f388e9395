"""New credentials for a folder: a key and a request for it, then what the authority answered.

What is there serves on until all of the new is checked and in its place.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from pi_cluster.cluster.atomic_file import write_bytes
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.private_files import make_private_folder, read_file, read_private
from pi_cluster.cluster.trust import certificates, signing
from pi_cluster.cluster.trust.certificates import Key, Revocations, key_hash, utc_now
from pi_cluster.cluster.trust.credentials import (
    NEXT,
    REVOCATIONS,
    finish_renewal,
    held_revocations,
)
from pi_cluster.cluster.trust.holdings import AUTHORITIES
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.trust.issued import Certification


def request_certificate(folder: Path, role: Role, common_name: str) -> bytes:
    """Make a new key and a signing request for it (PKCS #10, DER).

    The key is used once its certificate is installed; until then whatever was there serves on.
    """
    make_private_folder(folder)
    key = signing.new_key()
    write_bytes(folder / f"{role}.key{NEXT}", certificates.key_pem(key), private=True)
    return signing.make_signing_request(key, common_name)


def install(folder: Path, role: Role, given: Certification, expected: Identity) -> None:
    """Check what was given, and put it into the folder in place of what was there.

    The certificate must be for ``expected``, for a key that lies in the folder, and signed by one
    of the authorities; the revocation list must not be older than the one held. Raises
    ``AccessError`` and changes nothing otherwise.
    """
    authorities_data = given.authorities or read_file(folder / AUTHORITIES)
    authorities = certificates.read_authorities(authorities_data)
    held = _held_number(folder)
    if given.revocations:
        revoked = certificates.read_revocations(given.revocations, authorities)
        if revoked.number < held:
            raise AccessError(f"revocation list {revoked.number} is older than {held}, held here")
    else:
        revoked = held_revocations(folder, authorities)[1]
    if given.certificate:
        _check_new(folder, role, given.certificate, authorities, revoked, expected)
    else:
        _check_kept(folder, role, authorities)
    make_private_folder(folder)
    # In this order a power cut leaves a folder that can be loaded: what signs the list is trusted
    # before the list comes, and still is when the authorities change.
    # What was checked is written, not what came: another parser might read that differently.
    if given.revocations:
        write_bytes(folder / REVOCATIONS, given.revocations)
    if given.authorities:
        write_bytes(folder / AUTHORITIES, certificates.certificate_pem(*authorities))
    if given.certificate:
        certificate = certificates.read_certificate(given.certificate)
        write_bytes(folder / f"{role}.pem", certificates.certificate_pem(certificate))
        finish_renewal(folder / f"{role}.key", certificate)


def _check_new(
    folder: Path,
    role: Role,
    pem: bytes,
    authorities: Sequence[x509.Certificate],
    revoked: Revocations,
    expected: Identity,
) -> None:
    certificate = certificates.read_certificate(pem)
    try:
        identity = certificates.check_certificate(certificate, authorities, revoked, utc_now())
    except AccessError as error:
        raise AccessError(f"the certificate {error}") from None
    if identity != expected:
        raise AccessError(f"the certificate is for {identity}, and this is {expected}")
    for name in (f"{role}.key{NEXT}", f"{role}.key"):
        if (folder / name).exists() and _is_key_of(folder / name, certificate):
            return
    raise AccessError("the certificate is for a key that is not here: ask for a new request first")


def _check_kept(folder: Path, role: Role, authorities: Sequence[x509.Certificate]) -> None:
    """New authorities must not cut this node off from the operator who sends them."""
    certificate = certificates.read_certificate(read_file(folder / f"{role}.pem"))
    try:
        certificates.check_issuer(certificate, authorities)
    except AccessError as error:
        raise AccessError(f"with these authorities, the certificate here {error}") from None


def _is_key_of(path: Path, certificate: x509.Certificate) -> bool:
    key: Key = certificates.read_key(read_private(path))
    return key_hash(key) == key_hash(certificate)


def _held_number(folder: Path) -> int:
    with contextlib.suppress(AccessError):
        authorities = certificates.read_authorities(read_file(folder / AUTHORITIES))
        return held_revocations(folder, authorities)[1].number
    return 0
