"""Finding nodes: mDNS (RFC 6762, RFC 6763) on networks that carry it, a static list on others.

mDNS tells that a node exists and where. It says nothing when a node dies, and anyone may announce
anything, so a discovered node is believed only after it has answered a call.
"""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Collection, Iterator

import ifaddr
from zeroconf import InterfaceChoice, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from cluster.errors import ClusterError
from cluster.peer import Peer, split_address

SERVICE_TYPE = "_pi-cluster._tcp.local."
_CONTAINER_LINKS = ("docker", "br-", "veth", "virbr", "cni", "podman", "lxc")
_RESOLVE_MS = 2_000


@contextlib.contextmanager
def announced(peer: Peer, cluster: str, version: str) -> Iterator[None]:
    """Announce a worker while the block runs, and say goodbye when it ends.

    One that waits to join says so, with the id of its token, which is no secret. Raises
    ``ClusterError`` where the system does not let anybody use multicast.
    """
    host, port = split_address(peer.address)
    addresses = _reachable_addresses(host)
    info = ServiceInfo(
        SERVICE_TYPE,
        f"{peer.node_id}.{SERVICE_TYPE}",
        addresses=[ipaddress.ip_address(a).packed for a in addresses],
        port=port,
        properties={
            "cluster": cluster,
            "name": peer.name,
            "version": version,
            **({"joining": peer.joining} if peer.joining else {}),
        },
        server=f"{peer.node_id}.local.",
    )
    try:
        zeroconf = Zeroconf(interfaces=addresses)
    except OSError as error:
        raise ClusterError(
            f"this node cannot announce itself by mDNS ({error}): start it with --no-mdns, and "
            "name it to the operator's commands with --nodes HOST:PORT,..."
        ) from None
    try:
        zeroconf.register_service(info)
        yield
    finally:
        zeroconf.unregister_all_services()
        zeroconf.close()


def discover(cluster: str, wait_s: float, expected: Collection[str] = ()) -> list[Peer]:
    """Workers of ``cluster`` that announce themselves within ``wait_s``, by name and node id.

    Those that wait to join it are among them.

    Returns as soon as every node id in ``expected`` has been seen, if there are any.
    """
    listener = _Listener(cluster, set(expected))
    try:
        zeroconf = Zeroconf(interfaces=InterfaceChoice.All)
    except OSError as error:
        raise ClusterError(
            f"mDNS cannot be used here ({error}): name the nodes with --nodes HOST:PORT,..."
        ) from None
    try:
        browser = ServiceBrowser(zeroconf, SERVICE_TYPE, listener=listener)
        listener.complete.wait(wait_s)
        browser.cancel()
    finally:
        zeroconf.close()
    return listener.peers()


class _Listener(ServiceListener):
    """Collects peers on zeroconf's thread."""

    def __init__(self, cluster: str, expected: set[str]) -> None:
        self.complete = threading.Event()
        self._cluster = cluster
        self._expected = expected
        self._lock = threading.Lock()
        self._peers: dict[str, Peer] = {}

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        info = zc.get_service_info(type_, name, _RESOLVE_MS)
        if info is None or info.port is None:
            return
        text = {k.decode("utf-8", "replace"): (v or b"") for k, v in info.properties.items()}
        addresses = info.parsed_addresses()
        if text.get("cluster", b"").decode("utf-8", "replace") != self._cluster or not addresses:
            return
        node_id = name.removesuffix("." + SERVICE_TYPE)
        address = f"{_bracketed(_nearest(addresses))}:{info.port}"
        with self._lock:
            label, joining = (
                text.get(key, b"").decode("utf-8", "replace") for key in ("name", "joining")
            )
            self._peers[node_id] = Peer(address, node_id, label, joining)
            if self._expected and self._expected <= self._peers.keys():
                self.complete.set()

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:  # noqa: ARG002
        with self._lock:
            self._peers.pop(name.removesuffix("." + SERVICE_TYPE), None)

    def peers(self) -> list[Peer]:
        """Those found so far, in order of name and node id."""
        with self._lock:
            return sorted(self._peers.values(), key=lambda p: (p.name, p.node_id))


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _nearest(addresses: list[str]) -> str:
    """An address on a network this machine is on; else the first one told."""
    ours = [
        ipaddress.ip_network(f"{ip.ip}/{ip.network_prefix}", strict=False)
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if isinstance(ip.ip, str)
    ]
    for address in addresses:
        parsed = ipaddress.ip_address(address)
        if any(parsed.version == net.version and parsed in net for net in ours):
            return address
    return addresses[0]


def _reachable_addresses(host: str) -> list[str]:
    """The IPv4 addresses under which a listener on ``host`` can be reached by its neighbours."""
    host = host.strip("[]")
    if host not in ("0.0.0.0", "::", ""):  # noqa: S104
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
        return sorted({str(entry[4][0]) for entry in found})
    addresses = [
        str(ip.ip)
        for adapter in ifaddr.get_adapters()
        if not adapter.nice_name.startswith(_CONTAINER_LINKS)
        for ip in adapter.ips
        if isinstance(ip.ip, str) and not ipaddress.ip_address(ip.ip).is_loopback
    ]
    return addresses or ["127.0.0.1"]
