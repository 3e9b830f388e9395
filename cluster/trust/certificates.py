"""Who somebody is, as certificates say it: ECDSA P-256 keys, X.509, one authority a cluster.

An identity (`identity.py`) is a URI in the subject alternative name. A node's certificate also has
DNS names, by which TLS checks that the node which was called is the one that answers; the others
have none, and can never be taken for a server.
"""

import contextlib
import datetime
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.identity import Identity

Key = ec.EllipticCurvePrivateKey

ANY_NODE = "any.node.pi-cluster.internal"
"""A name that every node's certificate has."""

MAX_PEM_BYTES = 1 << 20
_MAX_REQUEST_BYTES = 4_096
_MAX_CERTIFICATES = 8


@dataclass(frozen=True, slots=True)
class Revocations:
    """The certificates that an authority has taken back."""

    number: int
    """Increases with every list; 0 for the empty one that nobody signed."""
    serials: frozenset[int]


NOTHING_REVOKED = Revocations(0, frozenset())


def server_name(node_id: str) -> str:
    """The DNS name that only this node's certificate has."""
    return f"{node_id}.node.pi-cluster.internal"


def key_pem(key: Key) -> bytes:
    """A private key as PKCS #8 in PEM, unencrypted: the file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def read_key(pem: bytes) -> Key:
    """A private key. Raises ``AccessError`` when it is not one on P-256."""
    with _parsing("it holds no private key in PEM"):
        key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise AccessError("its key is not on the curve P-256")
    return key


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as files keep them."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """The certificates in a PEM file, one to eight. Raises ``AccessError``."""
    if len(pem) > MAX_PEM_BYTES:
        raise AccessError(f"{len(pem)} bytes are too many for certificates")
    with _parsing("it holds no certificate in PEM"):
        found = x509.load_pem_x509_certificates(pem)
    if len(found) > _MAX_CERTIFICATES:
        raise AccessError(f"it holds {len(found)} certificates, at most {_MAX_CERTIFICATES}")
    return found


def read_authorities(pem: bytes) -> list[x509.Certificate]:
    """The authorities in a PEM file, each once. Raises ``AccessError`` if others are among them."""
    found = list({one.fingerprint(hashes.SHA256()): one for one in read_certificates(pem)}.values())
    for one in found:
        with _parsing("one of its certificates is no authority's"):
            may_sign = one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        if not may_sign or not _issued_by(one, one):
            raise AccessError("one of its certificates is no authority's")
    return found


def read_certificate(pem: bytes) -> x509.Certificate:
    """The one certificate in a PEM file. Raises ``AccessError``."""
    found = read_certificates(pem)
    if len(found) != 1:
        raise AccessError(f"it holds {len(found)} certificates instead of one")
    return found[0]


def key_hash(key: ec.EllipticCurvePublicKey | x509.Certificate | Key) -> bytes:
    """SHA-256 of a public key (as SubjectPublicKeyInfo), of whoever has it."""
    public = key if isinstance(key, ec.EllipticCurvePublicKey) else key.public_key()
    return hashlib.sha256(
        public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).digest()


def read_signing_request(der: bytes) -> ec.EllipticCurvePublicKey:
    """The key that a request asks a certificate for. Raises ``AccessError`` when it is none."""
    if len(der) > _MAX_REQUEST_BYTES:
        raise AccessError(f"a signing request of {len(der)} bytes is too large")
    with _parsing("that is no signing request"):
        request = x509.load_der_x509_csr(der)
        valid, key = request.is_signature_valid, request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise AccessError("a signing request must be for a key on the curve P-256")
    if not valid:
        raise AccessError("a signing request is signed by another key than the one that it is for")
    return key


def read_revocations(pem: bytes, authorities: Sequence[x509.Certificate]) -> Revocations:
    """A revocation list that one of these authorities signed. Raises ``AccessError``."""
    if len(pem) > MAX_PEM_BYTES:
        raise AccessError(f"{len(pem)} bytes are too many for a revocation list")
    with _parsing("that is no revocation list"):
        listed = x509.load_pem_x509_crl(pem)
        number = listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        serials = frozenset(entry.serial_number for entry in listed)
    if not any(_signed_list(listed, authority) for authority in authorities):
        raise AccessError("a revocation list is not signed by an authority of this cluster")
    return Revocations(number, serials)


def identity_of(certificate: x509.Certificate) -> Identity:
    """Whom a certificate is for. Says nothing of who signed it. Raises ``AccessError``."""
    with _parsing("a certificate names nobody of a cluster"):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise AccessError("a certificate names nobody of a cluster")
    return Identity.parse(uris[0])


def check_certificate(
    certificate: x509.Certificate,
    authorities: Sequence[x509.Certificate],
    revoked: Revocations,
    now: datetime.datetime,
) -> Identity:
    """Whom a certificate is for, if it is worth anything now.

    Raises ``AccessError`` saying what is wrong with it, in words that go on after "its
    certificate".
    """
    check_issuer(certificate, authorities)
    identity = identity_of(certificate)
    if certificate.serial_number in revoked.serials:
        raise AccessError("has been revoked")
    check_dates(certificate, now)
    return identity


def check_issuer(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> None:
    """Raise ``AccessError`` as :func:`check_certificate` does unless one of them signed it."""
    if not any(_issued_by(certificate, authority) for authority in authorities):
        raise AccessError("was not signed by this cluster's authority")


def check_dates(certificate: x509.Certificate, now: datetime.datetime) -> None:
    """Raise ``AccessError`` as :func:`check_certificate` does unless it is valid now."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        raise AccessError(
            f"is valid from {begins:%Y-%m-%d %H:%M} UTC on, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M}: set the clock that is wrong (see `timedatectl`)"
        )
    if now > ends:
        raise AccessError(
            f"expired on {ends:%Y-%m-%d %H:%M} UTC, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M}"
        )


def utc_now() -> datetime.datetime:
    """The time by this machine's clock."""
    return datetime.datetime.now(datetime.UTC)


@contextlib.contextmanager
def _parsing(problem: str) -> Iterator[None]:
    """Bytes that somebody sent are taken apart within; whatever is wrong with them is one error."""
    try:
        yield
    except Exception:  # of the parser's own, a dozen kinds without a common root
        raise AccessError(problem) from None


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    with contextlib.suppress(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        certificate.verify_directly_issued_by(authority)
        return True
    return False


def _signed_list(listed: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    return isinstance(key, ec.EllipticCurvePublicKey) and listed.is_signature_valid(key)
