"""Under which addresses a machine is offered to others, and in which order these are tried.

Pure: what the interfaces are, :mod:`cluster.interfaces` tells.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.interfaces import Interface, IPAddress, LinkKind
from pi_cluster.cluster.wire.peer import Peer, bracketed, is_loopback, split_address

MOST_OFFERED = 8  # of one node: a few networks, each with IPv4 and IPv6

_Rank = tuple[int, LinkKind, int]


@dataclass(frozen=True, slots=True)
class Offer:
    """An address of a node's own, and what kind of interface has it."""

    host: str
    """An IP address, without a scope: that would mean nothing elsewhere."""
    kind: LinkKind


def offered(interfaces: Iterable[Interface]) -> list[Offer]:
    """What a node that listens everywhere tells others: the best way first, never loopback."""
    offers = [
        (interface.kind, _family(one.address), Offer(str(one.address), interface.kind))
        for interface in interfaces
        if interface.kind < LinkKind.CONTAINER
        for one in interface.addresses
        if not one.address.is_loopback
    ]
    offers.sort(key=lambda entry: entry[:2])
    return list(dict.fromkeys(offer for _, _, offer in offers))[:MOST_OFFERED]


def offered_of(hosts: Sequence[str], interfaces: Iterable[Interface]) -> list[Offer]:
    """As :func:`offered`, of a node that listens on these addresses alone.

    One that no interface has at present is not offered.
    """
    wanted = [ipaddress.ip_address(host.partition("%")[0]) for host in hosts]
    kinds = {one.address: each.kind for each in interfaces for one in each.addresses}
    return [Offer(str(host), kinds[host]) for host in wanted if host in kinds][:MOST_OFFERED]


def in_order_of_sense(
    addresses: Iterable[str], ours: Sequence[Interface], told: Mapping[str, LinkKind] | None = None
) -> list[str]:
    """Each ``host:port`` once, in the order in which this machine should try them.

    Networks that this machine is on come first, then what routers lead to, then VPNs, then
    bridges of containers, and loopback; in each a cable before Wi-Fi, and IPv4 before IPv6 before
    link-local addresses. ``told`` are the kinds of the other side's interfaces by host, as far as
    it told them. What is alike stays in the order in which it was given. A link-local address
    without a scope becomes one for each interface that may lead there.
    """
    each = [one for address in addresses for one in _scoped(address, ours)]
    return sorted(dict.fromkeys(each), key=lambda one: _rank(one, ours, told or {}))


def as_seen_from(peer: Peer, ours: Sequence[Interface]) -> Peer:
    """A node of which another machine told, its addresses in the order in which to try them here.

    It keeps those that lead nowhere from here, for a message that names them, if all do.
    """
    return peer.at(in_order_of_sense(peer.addresses, ours) or peer.addresses)


def without_scope(address: str) -> str:
    """``host:port`` as it is told to other machines, where our interfaces' names mean nothing."""
    host, port = split_address(address)
    return f"{bracketed(host.strip('[]').partition('%')[0])}:{port}"


def for_others(addresses: Iterable[str]) -> list[str]:
    """Those of a node's addresses that another machine may try, without scopes, each once.

    Loopback addresses are left out where there are others.
    """
    beyond = [one for one in addresses if not is_loopback(one)] or list(addresses)
    return list(dict.fromkeys(map(without_scope, beyond)))


def parsed(host: str) -> IPAddress | None:
    """The IP address that a host is, without its scope; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _scoped(address: str, ours: Sequence[Interface]) -> list[str]:
    try:
        host, port = split_address(address)
    except ClusterError:
        return []
    ip = parsed(host)
    if ip is None or ip.version == 4 or not ip.is_link_local or "%" in host:
        return [address]
    scopes = [
        one.name
        for one in ours
        if one.kind < LinkKind.TUNNEL
        and any(own.address.version == 6 and own.address.is_link_local for own in one.addresses)
    ]
    return [f"[{ip}%{scope}]:{port}" for scope in scopes]


def _rank(address: str, ours: Sequence[Interface], told: Mapping[str, LinkKind]) -> _Rank:
    host = split_address(address)[0].strip("[]")
    ip = parsed(host)
    if ip is None:
        return 1, LinkKind.CABLE, 0
    if ip.is_loopback:
        return 4, LinkKind.LOOPBACK, 0
    theirs = told.get(str(ip), LinkKind.CABLE)
    near = _nearest(ip, host.partition("%")[2], ours)
    way = theirs if near is None else max(near, theirs)
    place = {LinkKind.TUNNEL: 2, LinkKind.CONTAINER: 3}.get(way, 1 if near is None else 0)
    return place, way, _family(ip)


def _nearest(ip: IPAddress, scope: str, ours: Sequence[Interface]) -> LinkKind | None:
    """The best of our interfaces that is on the address's network; None if a router leads there."""
    kinds = [
        one.kind
        for one in ours
        if (not scope or scope == one.name)
        and any(own.network.version == ip.version and ip in own.network for own in one.addresses)
    ]
    return min(kinds, default=None)


def _family(ip: IPAddress) -> int:
    if ip.is_link_local:
        return 2
    return 0 if ip.version == 4 else 1
