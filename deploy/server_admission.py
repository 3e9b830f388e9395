"""Whom a server lets in and what it shows them: keys and certificates, from a command's options."""

import ipaddress
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

from pi_cluster.cluster.advice import command
from pi_cluster.cluster.errors import AccessError
from pi_cluster.deploy.screen.output import note, warn_loudly
from pi_cluster.server.keys import FollowedKeys, KeyBook, server_folder
from pi_cluster.server.web_authority import WebAuthority


def keys_for(cluster: str, host: str, insecure: bool) -> FollowedKeys:
    """Whom to let in. Raises ``AccessError`` for a server that everybody could use unasked."""
    book = KeyBook(cluster)
    is_open = not _is_loopback(host)
    if is_open and insecure:
        warn_loudly(
            f"WARNING: everybody who reaches {host} may ask the model: make a key with "
            f"`{command(cluster, 'key', 'create', 'NAME')}` and leave --insecure out"
        )
    elif is_open and not book.entries:
        raise AccessError(
            f"others can reach {host}, and nobody has a key yet: make one with "
            f"`{command(cluster, 'key', 'create', 'NAME')}`, or let everybody in with --insecure"
        )
    return FollowedKeys(book, always_needed=is_open, never_needed=insecure)


def own_certificate(
    cluster: str, hosts: Iterable[str]
) -> tuple[ssl.SSLContext, Callable[[], None]]:
    """A certificate by an authority of this server's own, and what renews it; says whom to trust.

    Raises ``AccessError`` as ``WebAuthority`` does.
    """
    authority = WebAuthority(server_folder(cluster) / "web-authority", hosts)
    context = authority.context()
    note(
        f"browsers and programs trust this server once they trust {authority.path} (SHA-256 "
        f"{authority.fingerprint}), which vouches for names and addresses of local networks only"
    )
    return context, lambda: authority.renew(context)


def given_certificate(certificate: Path, key: Path) -> ssl.SSLContext:
    """A certificate that somebody else has made. Raises ``AccessError`` where it is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise AccessError(
            f"{certificate} and {key} are no certificate and its key, in PEM and without a "
            f"password ({error})"
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
