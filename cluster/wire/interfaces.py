"""The network interfaces of this machine, with what kind of way each of them is."""

import contextlib
import enum
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

import ifaddr

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

CONTAINER_NAMES = ("docker", "br-", "veth", "virbr", "cni", "podman", "lxc", "lxd", "vnet")
_TUNNEL_NAMES = ("tun", "wg", "tailscale", "zt", "ppp", "ipsec", "vpn", "nordlynx", "ham", "utun")
_WIRELESS_NAMES = ("wl", "awdl", "llw")  # the last two: Macs among themselves
# ARPHRD_... of linux/if_arp.h: PPP, IP in IP, IPv6 in IP, GRE, GRE over IPv6, none (tun, WireGuard)
_TUNNEL_TYPES = frozenset({512, 768, 769, 776, 778, 823, 65534})


class LinkKind(enum.IntEnum):
    """How an interface leads to others, in the order in which ways are tried."""

    CABLE = 0
    WIRELESS = 1
    TUNNEL = 2
    """A VPN: it may lead round the world to the next table."""
    CONTAINER = 3
    """A bridge within this machine, whose addresses many machines have alike."""
    LOOPBACK = 4


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of this machine, and the network that it is in."""

    address: IPAddress
    network: IPNetwork


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that has addresses."""

    name: str
    kind: LinkKind
    addresses: tuple[InterfaceAddress, ...]


def own_interfaces(root: Path = Path("/")) -> list[Interface]:
    """Those with an address that can be used now; ``root`` holds ``sys``.

    Empty where the system does not tell (a service without netlink).
    """
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError:
        return []
    found = []
    for adapter in adapters:
        name = str(adapter.name)
        usable = [_usable(ip) for ip in adapter.ips]
        if addresses := tuple(one for one in usable if one):
            found.append(Interface(name, kind_of(name, addresses, root), addresses))
    return found


def _usable(ip: ifaddr.IP) -> InterfaceAddress | None:
    host, *scope = ip.ip if isinstance(ip.ip, tuple) else (ip.ip,)
    if scope and not _is_bindable((host, 0, *scope)):
        return None
    interface = ipaddress.ip_interface(f"{host}/{ip.network_prefix}")
    return InterfaceAddress(interface.ip, interface.network)


def _is_bindable(where: tuple[str | int, ...]) -> bool:
    """An IPv6 address that is still looked for on the network (RFC 4862) is not ours yet."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(where)
    except OSError:
        return False
    return True


def kind_of(name: str, addresses: tuple[InterfaceAddress, ...], root: Path) -> LinkKind:
    """What an interface is, by ``root``'s ``sys/class/net``, or else by its name."""
    folder = root / "sys/class/net" / name
    if all(one.address.is_loopback for one in addresses):
        return LinkKind.LOOPBACK
    if _type_number(folder) in _TUNNEL_TYPES or name.startswith(_TUNNEL_NAMES):
        return LinkKind.TUNNEL
    if (folder / "bridge").exists():
        return _kind_of_bridge(folder)
    if name.startswith(CONTAINER_NAMES):
        return LinkKind.CONTAINER
    is_radio = (folder / "wireless").exists() or (folder / "phy80211").exists()
    if is_radio or name.startswith(_WIRELESS_NAMES):
        return LinkKind.WIRELESS
    return LinkKind.CABLE


def _kind_of_bridge(folder: Path) -> LinkKind:
    """A bridge that a real port belongs to is that port's way; others end in this machine."""
    with contextlib.suppress(OSError):
        members = [path.name for path in (folder / "brif").iterdir()]
        if any((folder.parent / member / "device").exists() for member in members):
            return LinkKind.CABLE
    return LinkKind.CONTAINER


def _type_number(folder: Path) -> int | None:
    try:
        return int((folder / "type").read_text())
    except (OSError, ValueError):
        return None
