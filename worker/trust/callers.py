"""Who is at the other end of a call: what its certificate says, and whether that still counts."""

import threading
from dataclasses import dataclass

import grpc
from cryptography import x509

from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.trust.certificates import check_dates, utc_now
from pi_cluster.cluster.trust.credentials import Credentials, LiveCredentials
from pi_cluster.cluster.trust.identity import Identity

_MAX_KNOWN = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of a call, as its certificate says."""

    identity: Identity
    serial: int


class Callers:
    """Checks the certificates of those who call, each once for as long as our own trust stands.

    What was found is known by the certificate's bytes, and forgotten when authorities or
    revocations change. ``_lock`` guards it.
    """

    def __init__(self, credentials: LiveCredentials) -> None:
        self._live = credentials
        self._lock = threading.Lock()
        self._known_with: Credentials | None = None
        self._known: dict[bytes, tuple[Caller, x509.Certificate]] = {}

    @property
    def revoked(self) -> frozenset[int]:
        """The serial numbers of certificates that have been taken back."""
        return self._live.current.revoked.serials

    def of(self, context: grpc.ServicerContext) -> Caller:
        """Who calls. TLS has checked chain and key at the handshake; here is the rest.

        Raises ``AccessError`` for a call without a certificate, or with one that is worth nothing.
        """
        pem = bytes(next(iter(context.auth_context().get("x509_pem_cert", ())), b""))
        now = self._live.current
        with self._lock:
            if now is not self._known_with:
                self._known_with = now
                self._known.clear()
            known = self._known.get(pem)
        if known is None:
            known = _checked(pem, now)
            with self._lock:
                if len(self._known) < _MAX_KNOWN and self._known_with is now:
                    self._known[pem] = known
        caller, certificate = known
        try:
            check_dates(certificate, utc_now())
        except AccessError as error:
            raise AccessError(f"your certificate {error}") from None
        return caller


def _checked(pem: bytes, ours: Credentials) -> tuple[Caller, x509.Certificate]:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise AccessError("a call came without a certificate") from None
    try:
        return Caller(ours.check(certificate), certificate.serial_number), certificate
    except AccessError as error:
        raise AccessError(f"your certificate {error}") from None
