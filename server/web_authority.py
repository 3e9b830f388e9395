"""An authority for browsers, which may vouch for this machine's kinds of names and for no other.

It is not the cluster's: whoever trusts it in a browser gives nobody a way to the nodes, and whoever
steals its key can pass for no site of the web (name constraints, RFC 5280 4.2.1.10, critical).
"""

import datetime
import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from pi_cluster.cluster.atomic_file import locked, write_bytes
from pi_cluster.cluster.errors import AccessError
from pi_cluster.cluster.private_files import make_private_folder, read_file, read_private
from pi_cluster.cluster.trust.certificates import (
    certificate_pem,
    key_hash,
    key_pem,
    read_certificate,
    read_key,
    utc_now,
)
from pi_cluster.cluster.trust.signing import certificate_builder, key_usage, name_of, new_key
from pi_cluster.cluster.wire.interfaces import own_interfaces

_AUTHORITY_LIFE = datetime.timedelta(days=3650)
_LIFE = datetime.timedelta(days=90)  # browsers take no longer ones than 398 days
_RENEWED_BEFORE = datetime.timedelta(days=30)
_SUFFIXES = ("localhost", "local", "internal", "home.arpa", "lan")
_NETWORKS = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"),
)

_Name = x509.DNSName | x509.IPAddress


class WebAuthority:
    """The authority in a folder, and the certificate that a server shows, renewed in time."""

    def __init__(self, folder: Path, hosts: Iterable[str] = ()) -> None:
        """``hosts`` are names beside this machine's own. Makes what is not there yet.

        Raises ``AccessError`` for a name that an authority made earlier may not vouch for.
        """
        self._folder = folder
        self._hosts = [host.lower() for host in hosts if not host.startswith(".")]
        make_private_folder(folder)
        with locked(folder):
            if not self.path.exists():
                self._make()
        self._certificate = read_certificate(read_file(self.path))
        self._check_hosts()

    @property
    def path(self) -> Path:
        """The authority's certificate, for people to trust."""
        return self._folder / "authority.pem"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of that certificate, as browsers show it."""
        digest = hashlib.sha256(self._certificate.public_bytes(serialization.Encoding.DER))
        return digest.digest().hex(":").upper()

    def context(self) -> ssl.SSLContext:
        """What a server shows its clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.renew(context)
        return context

    def renew(self, context: ssl.SSLContext) -> None:
        """Have new connections meet a certificate that is valid, and for the names of today."""
        chain, key = self._folder / "server.pem", self._folder / "server.key"
        with locked(self._folder):
            if not self._is_good(chain, key):
                self._certify(chain, key)
            context.load_cert_chain(chain, key)

    def _make(self) -> None:
        key = new_key()
        subject = name_of(f"pi-cluster web {socket.gethostname()} {key_hash(key).hex()[:12]}")
        now = utc_now()
        certificate = (
            certificate_builder(subject, subject, key.public_key(), now, _AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(authority=True), critical=True)
            .add_extension(
                x509.NameConstraints(_permitted(self._hosts), excluded_subtrees=None), critical=True
            )
            .sign(key, hashes.SHA256())
        )
        # The certificate last: where it is, its key is too.
        write_bytes(self._folder / "authority.key", key_pem(key), private=True)
        write_bytes(self.path, certificate_pem(certificate))

    def _check_hosts(self) -> None:
        constraints = self._certificate.extensions.get_extension_for_class(x509.NameConstraints)
        permitted = constraints.value.permitted_subtrees or []
        names = {one.value for one in permitted if isinstance(one, x509.DNSName)}
        for host in self._hosts:
            if not any(host == name or host.endswith(f".{name}") for name in names):
                raise AccessError(
                    f"the authority in {self._folder} may not vouch for {host}: remove that "
                    "folder and start again, and trust the new authority in its place"
                )

    def _is_good(self, chain: Path, key: Path) -> bool:
        if not chain.exists() or not key.exists():
            return False
        try:
            shown = read_certificate(read_file(chain))
            fits = key_hash(read_key(read_private(key))) == key_hash(shown)
            shown.verify_directly_issued_by(self._certificate)
        except Exception:  # of the library's own, several kinds: it is made anew
            return False
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        is_fresh = utc_now() < shown.not_valid_after_utc - _RENEWED_BEFORE
        return fits and is_fresh and set(_own_names(self._hosts)) <= set(names)

    def _certify(self, chain: Path, key_path: Path) -> None:
        authority_key = read_key(read_private(self._folder / "authority.key"))
        key = new_key()
        subject, now = name_of(socket.gethostname()), utc_now()
        issued = (
            certificate_builder(subject, self._certificate.subject, key.public_key(), now, _LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(_own_names(self._hosts)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )
        # Whatever a power cut leaves of the two is noticed by `_is_good`.
        write_bytes(key_path, key_pem(key), private=True)
        write_bytes(chain, certificate_pem(issued))


def _own_names(hosts: Sequence[str]) -> list[_Name]:
    """Names and addresses by which this machine is called now."""
    own = socket.gethostname().lower().partition(".")[0]
    names = dict.fromkeys(("localhost", own, f"{own}.local", *hosts))
    networks = [ipaddress.ip_network(network) for network in _NETWORKS]
    interfaces = [one.address for found in own_interfaces() for one in found.addresses]
    addresses = dict.fromkeys([*map(ipaddress.ip_address, ("127.0.0.1", "::1")), *interfaces])
    return [
        *map(x509.DNSName, names),
        *(x509.IPAddress(one) for one in addresses if any(one in network for network in networks)),
    ]


def _permitted(hosts: Sequence[str]) -> list[x509.GeneralName]:
    own = socket.gethostname().lower().partition(".")[0]
    return [
        *map(x509.DNSName, dict.fromkeys((*_SUFFIXES, own, *hosts))),
        *(x509.IPAddress(ipaddress.ip_network(network)) for network in _NETWORKS),
    ]
