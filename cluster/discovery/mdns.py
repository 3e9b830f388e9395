"""Finding nodes: mDNS (RFC 6762, RFC 6763) on networks that carry it, a static list on others.

mDNS tells that a node exists and where. It says nothing when a node dies, and anyone may announce
anything, so a discovered node is believed only after it has answered a call.
"""

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import logging
import socket
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from zeroconf import Error as ZeroconfError
from zeroconf import ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf
from zeroconf.asyncio import AsyncServiceInfo

from pi_cluster.cluster.discovery.sightings import KIND_KEYS, Sightings
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.addresses import Offer, offered, offered_of
from pi_cluster.cluster.wire.interfaces import Interface, LinkKind, own_interfaces
from pi_cluster.cluster.wire.peer import Peer, split_address

log = logging.getLogger(__name__)

SERVICE_TYPE = "_pi-cluster._tcp.local."
FOLLOW_S = 2.0  # a DHCP lease comes in seconds; asking the system costs a millisecond

_BEGIN_S = 10.0  # it takes milliseconds, where the system is not overloaded
_RESOLVE_MS = 2_000
_MOST_ASKED = 64  # nodes whose announcement came in parts, some of which were lost


@contextlib.contextmanager
def announced(peer: Peer, cluster: str, version: str) -> Iterator[None]:
    """Announce a worker while the block runs, and say goodbye when it ends.

    What is announced follows the addresses of this machine; while a worker that listens on all of
    them has none, nothing is. One that waits to join says so, with the id of its token, which is
    no secret. Raises ``ClusterError`` where the system does not let anybody use multicast.
    """
    announcer = _Announcer(peer, cluster, version)
    try:
        announcer.follow()
    except OSError as error:
        announcer.end()
        raise ClusterError(
            f"this node cannot announce itself by mDNS ({error}): start it with --no-mdns, and "
            "name it to the operator's commands with --nodes HOST:PORT,..."
        ) from None
    stopping = threading.Event()
    following = threading.Thread(target=announcer.run, args=(stopping,), name="announcer")
    following.start()
    try:
        yield
    finally:
        stopping.set()
        following.join()
        announcer.end()


class _Announcer:
    """Announces one worker, anew whenever the addresses of this machine have changed.

    It looks every two seconds: netlink would tell sooner, in messages that say only that it is
    time to look.
    """

    def __init__(self, peer: Peer, cluster: str, version: str) -> None:
        host, self._port = split_address(peer.address)
        self._hosts = _fixed_addresses(host.strip("[]"))
        self._peer = peer
        self._properties = {
            "cluster": cluster,
            "name": peer.name,
            "version": version,
            **({"joining": peer.joining} if peer.joining else {}),
        }
        self._offers: list[Offer] | None = None
        self._zeroconf: Zeroconf | None = None
        self._repeating: asyncio.Future[None] | None = None
        self._problem = ""

    def run(self, stopping: threading.Event) -> None:
        """Follow until ``stopping`` is set."""
        while not stopping.wait(FOLLOW_S):
            try:
                self.follow()
                self._problem = ""
            except (OSError, ZeroconfError) as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    log.warning("this node cannot announce itself at present: %s", error)

    def follow(self) -> None:
        """Announce the addresses of now, unless that was done. Raises ``OSError``: no multicast."""
        interfaces = own_interfaces()
        offers = offered_of(self._hosts, interfaces) if self._hosts else offered(interfaces)
        if offers == self._offers:
            return
        # Sockets of an interface that has gone are worth nothing, and those of a new one missing.
        self.end()
        if offers:
            self._zeroconf = Zeroconf(interfaces=_ways(interfaces, offers))
            self._repeating = _begin(self._zeroconf, self._service(offers))
            log.info("announcing %s", ", ".join(offer.host for offer in offers))
        else:
            log.info("not on a network yet: to be announced once there is an address")
        self._offers = offers

    def end(self) -> None:
        """Say goodbye, if anything was announced."""
        self._offers = None
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf:
            if zeroconf.loop and self._repeating:  # else it might come after the goodbye
                zeroconf.loop.call_soon_threadsafe(self._repeating.cancel)
            zeroconf.unregister_all_services()
            zeroconf.close()

    def _service(self, offers: Sequence[Offer]) -> ServiceInfo:
        kinds = {
            key: ",".join(offer.host for offer in offers if offer.kind is kind)
            for kind, key in KIND_KEYS.items()
        }
        return ServiceInfo(
            SERVICE_TYPE,
            f"{self._peer.node_id}.{SERVICE_TYPE}",
            addresses=[ipaddress.ip_address(offer.host).packed for offer in offers],
            port=self._port,
            properties=self._properties | {key: hosts for key, hosts in kinds.items() if hosts},
            server=f"{self._peer.node_id}.local.",
        )


def _begin(zeroconf: Zeroconf, service: ServiceInfo) -> "asyncio.Future[None]":
    """Announce, and return the task that repeats it within the next half second, to be kept.

    A worker that starts again should not be late for that.
    """
    assert zeroconf.loop, "one that has started"
    # Ids are random: whoever has the same is another announcer of ours, or an impostor, and must
    # not keep us from being heard.
    work = zeroconf.async_register_service(service, cooperating_responders=True)
    repeating = asyncio.run_coroutine_threadsafe(work, zeroconf.loop).result(_BEGIN_S)
    assert isinstance(repeating, asyncio.Future)
    return repeating


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a cluster's nodes."""

    peers: list[Peer]
    """By name and node id; those that wait to join are among them."""
    departed: list[Peer]
    """In whose name somebody said goodbye after they were heard."""
    left_out: int
    """Announcements beyond what one cluster can have."""


def listen(
    cluster: str, wait_s: float, expected: Collection[str] = (), known: Collection[str] = ()
) -> Heard:
    """Workers of ``cluster`` that announce themselves within ``wait_s``.

    Returns as soon as every node id in ``expected`` has been seen, if there are any. ``known`` are
    ids that are heard however many others are announced.
    """
    ours = own_interfaces()
    listener = _Listener(cluster, set(expected), known)
    try:
        zeroconf = Zeroconf(interfaces=_ways(ours))
    except OSError as error:
        raise ClusterError(
            f"mDNS cannot be used here ({error}): name the nodes with --nodes HOST:PORT,..."
        ) from None
    try:
        browser = ServiceBrowser(zeroconf, SERVICE_TYPE, listener=listener)
        listener.complete.wait(wait_s)
        browser.cancel()
        listener.end()
    finally:
        zeroconf.close()
    return listener.heard(ours)


def discover(cluster: str, wait_s: float, expected: Collection[str] = ()) -> list[Peer]:
    """Those that :func:`listen` hears and that have not said goodbye."""
    return listen(cluster, wait_s, expected).peers


class _Listener(ServiceListener):
    """Collects peers on zeroconf's thread, which never waits for an answer here."""

    def __init__(self, cluster: str, expected: set[str], known: Collection[str] = ()) -> None:
        self.complete = threading.Event()
        self._expected = expected
        self._lock = threading.Lock()
        self._sightings = Sightings(cluster, {*known, *expected})
        self._asking: dict[str, concurrent.futures.Future[bool]] = {}

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        info = AsyncServiceInfo(type_, name)
        if not info.load_from_cache(zc):
            self._ask(zc, info)
        if info.port is None:
            return
        hosts = [_with_named_scope(host) for host in info.parsed_scoped_addresses()]
        properties = {key: value or b"" for key, value in info.properties.items()}
        with self._lock:
            self._sightings.hear(_node_id(name), hosts, info.port, properties)
            if self._expected and self._expected <= self._sightings.ids:
                self.complete.set()

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:  # noqa: ARG002
        with self._lock:
            self._sightings.part(_node_id(name))

    def peers(self) -> list[Peer]:
        """Those found so far, in order of name and node id."""
        return self.heard(own_interfaces()).peers

    def heard(self, ours: Sequence[Interface]) -> Heard:
        """All that was heard so far."""
        with self._lock:
            sightings = self._sightings
            return Heard(sightings.peers(ours), sightings.departed(ours), sightings.left_out)

    def end(self) -> None:
        """Wait for no answer any more."""
        for asking in self._asking.values():
            asking.cancel()

    def _ask(self, zc: Zeroconf, info: AsyncServiceInfo) -> None:
        """Ask for the rest of an announcement; when it comes, it is an update."""
        if info.name in self._asking or len(self._asking) >= _MOST_ASKED or zc.loop is None:
            return
        asking = info.async_request(zc, _RESOLVE_MS)
        self._asking[info.name] = asyncio.run_coroutine_threadsafe(asking, zc.loop)


def _node_id(name: str) -> str:
    return name.removesuffix("." + SERVICE_TYPE)


def _with_named_scope(host: str) -> str:
    """zeroconf scopes by number, which a restart may change."""
    address, percent, number = host.partition("%")
    if percent and number.isdigit():
        with contextlib.suppress(OSError):
            return f"{address}%{socket.if_indextoname(int(number))}"
    return host


def _ways(interfaces: Iterable[Interface], offers: Sequence[Offer] = ()) -> list[str]:
    """What zeroconf is to use: each IPv4 address, and one IPv6 address of each interface.

    With ``offers`` only the interfaces that have one of those.
    """
    offers_of = {offer.host for offer in offers}
    ways: list[str] = []
    for one in interfaces:
        own = [address.address for address in one.addresses]
        if offers and not offers_of & {str(address) for address in own}:
            continue
        ways += [str(address) for address in own if address.version == 4]
        if one.kind is not LinkKind.LOOPBACK:
            six = sorted((a for a in own if a.version == 6), key=lambda a: not a.is_link_local)
            ways += [str(address) for address in six[:1]]
    return ways


def _fixed_addresses(host: str) -> list[str]:
    """The addresses of a worker that listens on some alone; none for one that listens on all."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104
        return []
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in found})
