"""The cluster's server on this machine, for `pi-cluster doctor`: asked as its clients do."""

import ipaddress
import ssl
from urllib.parse import urlsplit

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.trust.certificates import read_certificate
from pi_cluster.cluster.wire.peer import split_address
from pi_cluster.coordinator.records.server_record import find_server
from pi_cluster.deploy.asking.server_look import look_at_server
from pi_cluster.deploy.doctor.facts import ServerFacts
from pi_cluster.server.keys import KeyBook
from pi_cluster.worker.machine.reach import why_not

_CONNECT_S = 5.0


def server_facts(cluster: str) -> tuple[ServerFacts | None, str]:
    """How the server is, None where none runs; and why what is remembered of it cannot be read."""
    try:
        record = find_server(cluster)
        look = look_at_server(cluster)
        keys = len(KeyBook(cluster).entries)
    except ClusterError as error:
        return None, str(error)
    if record is None or look is None:
        return None, ""
    places = [_reached(*split_address(address)) for address in record.addresses]
    expires_unix_s, tls_error = None, ""
    if urlsplit(record.url).scheme == "https":
        try:
            expires_unix_s = _expiry(*places[0])
        except (ClusterError, OSError) as error:
            tls_error = str(error)
    return (
        ServerFacts(
            url=record.url,
            version=record.version,
            answers_here=look.running is not None,
            unreached=tuple(
                f"{address}: {why}"
                for address, place in zip(record.addresses, places, strict=True)
                if (why := why_not(*place))
            ),
            is_open_to_keys_alone=record.needs_key,
            keys=keys,
            certificate_expires_unix_s=expires_unix_s,
            tls_error=tls_error,
        ),
        "",
    )


def _reached(host: str, port: int) -> tuple[str, int]:
    """Where this machine reaches it: who listens on all addresses does on the loopback ones."""
    host = host.strip("[]")
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return host, port


def _expiry(host: str, port: int) -> float:
    pem = ssl.get_server_certificate((host, port), timeout=_CONNECT_S)
    return read_certificate(pem.encode()).not_valid_after_utc.timestamp()
