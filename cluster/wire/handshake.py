"""Who answers at an address: one TLS handshake that is looked at closely, and ended.

gRPC makes the same checks when it connects, but says only that it failed. Here each way to fail
has its sentence, and the revocation list counts too.
"""

import contextlib
import socket
import ssl

from cryptography import x509

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError, ClusterError, NodeLost
from pi_cluster.cluster.trust.certificates import check_dates, identity_of, utc_now
from pi_cluster.cluster.trust.credentials import Credentials
from pi_cluster.cluster.trust.identity import Identity, Role
from pi_cluster.cluster.wire.peer import Peer, split_address
from pi_cluster.cluster.wire.probing import lost


def who_answers(peer: Peer, credentials: Credentials, timeout_s: float) -> Identity:
    """Connect with our certificate, and check whose comes back and whether ours is taken.

    Raises ``NodeLost`` when nobody answers, and ``AccessError`` telling what is wrong with which
    certificate, or that another node than the one meant answers.
    """
    _check_own(credentials)
    context = _context()
    try:
        context.load_cert_chain(credentials.certificate_path, credentials.key_path)
    except (OSError, ssl.SSLError) as error:
        raise AccessError(f"{credentials.certificate_path} cannot be used: {error}") from None
    with _connected(peer, timeout_s) as plain:
        try:
            with context.wrap_socket(plain) as connection:
                identity = _checked(peer, connection.getpeercert(binary_form=True), credentials)
                _await_acceptance(peer, connection)
        except TimeoutError:
            raise lost(peer, "it accepts the connection and says nothing") from None
        except ssl.SSLEOFError:
            raise _hung_up(peer) from None
        except ssl.SSLError as error:
            raise _not_tls(peer, credentials.identity.cluster, error) from None
        except ConnectionError:
            raise _hung_up(peer) from None
        except OSError as error:
            raise lost(peer, error.strerror or str(error)) from None
    return identity


def shown_certificate(peer: Peer, timeout_s: float) -> x509.Certificate | None:
    """The certificate at an address, unchecked; None where nobody speaks TLS.

    Raises ``NodeLost`` when nobody answers at all.
    """
    with _connected(peer, timeout_s) as plain:
        try:
            with _context().wrap_socket(plain) as connection:
                shown = connection.getpeercert(binary_form=True)
        except OSError:
            return None
    try:
        return x509.load_der_x509_certificate(shown) if shown else None
    except ValueError:
        return None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # OpenSSL would end the handshake at the first thing wrong and not show whose certificate it
    # was; `_checked` makes the checks, on the certificate whose key this handshake has proven.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


def _connected(peer: Peer, timeout_s: float) -> socket.socket:
    host, port = split_address(peer.address)
    try:
        return socket.create_connection((host.strip("[]"), port), timeout_s)
    except TimeoutError:
        reason = f"no reply within {timeout_s:g} s; is it switched on, and its port open"
    except socket.gaierror:
        reason = "no address is known for that name"
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise lost(peer, reason)


def _check_own(credentials: Credentials) -> None:
    now = utc_now()
    try:
        check_dates(credentials.certificate, now)
    except AccessError as error:
        ours = f"our own certificate, {credentials.certificate_path}, {error}"
        if now < credentials.certificate.not_valid_before_utc:
            raise AccessError(ours) from None
        raise AccessError(f"{ours}: {_renewed_by(credentials.identity)}") from None


def _renewed_by(identity: Identity) -> str:
    """How somebody gets another certificate whose own has ended."""
    match identity.role:
        case Role.NODE:
            token = command(identity.cluster, "token", "create")
            return f"if that is the time, this node has to be admitted again, as by `{token}`"
        case Role.COORDINATOR | Role.HEALER:
            grant = command(identity.cluster, *identity.role.grant_words)
            return f"if that is the time, ask the operator for a new grant (`{grant}` there)"
        case Role.OPERATOR:
            return "set the clock (see `timedatectl`), since any command renews it in time"


def _checked(peer: Peer, shown: bytes | None, credentials: Credentials) -> Identity:
    if not shown:
        raise AccessError(f"{peer.label} shows no certificate: is it a worker of this cluster?")
    try:
        certificate = x509.load_der_x509_certificate(shown)
    except ValueError:
        raise AccessError(f"{peer.label} shows a certificate that cannot be read") from None
    try:
        identity = credentials.check(certificate)
    except AccessError as error:
        raise _stranger(peer, certificate, credentials, error) from None
    if identity.role is not Role.NODE:
        raise AccessError(
            f"{peer.label} answers as {identity.label}, which is no node: see who has that address"
        )
    if peer.node_id and identity.id != peer.node_id:
        raise AccessError(
            f"{peer.label} is node {peer.node_id}, but node {identity.id} answers there: see who "
            f"has that address now, then run `{command(credentials.identity.cluster, 'up')}`"
        )
    return identity


def _stranger(
    peer: Peer, certificate: x509.Certificate, credentials: Credentials, wrong: AccessError
) -> ClusterError:
    """What to say of a certificate that was found wanting."""
    ours = credentials.identity.cluster
    try:
        theirs = identity_of(certificate)
    except AccessError:
        if certificate.issuer == certificate.subject:
            return AccessError(
                f"{peer.label} waits to join a cluster: `{command(ours, 'up')}` admits it if its "
                "token is of this one"
            )
        return AccessError(f"{peer.label} is no node of cluster {ours!r}: its certificate {wrong}")
    if theirs.cluster != ours:
        return AccessError(
            f"{peer.label} belongs to cluster {theirs.cluster!r}, not {ours!r}: give --cluster "
            f"{theirs.cluster} if that is yours too"
        )
    return AccessError(f"{peer.label} cannot be trusted: its certificate {wrong}")


def _await_acceptance(peer: Peer, connection: ssl.SSLSocket) -> None:
    """A server of gRPC speaks first once it has taken our certificate; else it hangs up."""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        if connection.recv(1):
            return
    raise AccessError(
        f"{peer.label} hung up when it saw our certificate. Either its clock is so far off that "
        "ours has expired for it or is not valid yet (see `timedatectl` there), or it trusts "
        "another authority and has to join again; its log tells which"
    )


def _hung_up(peer: Peer) -> NodeLost:
    return NodeLost(
        f"{peer.label} hangs up before it says anything: somebody may be holding all connections "
        "that it takes, or another program has that port. Run the same command again in a moment, "
        "and see its log"
    )


def _not_tls(peer: Peer, cluster: str, error: ssl.SSLError) -> AccessError:
    return AccessError(
        f"{peer.label} does not speak TLS ({error.reason or 'it hung up'}), and this cluster has "
        "certificates: its worker was started without any. Let it join "
        f"(`{command(cluster, 'token', 'create')}`), or see whether another program has that port"
    )
