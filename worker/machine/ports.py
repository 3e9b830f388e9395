"""The network ports of this machine, as ``/sys/class/net`` shows them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from pi_cluster.cluster.wire.interfaces import CONTAINER_NAMES
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.worker.machine.system_files import ROOT, entries, read_number, read_text

_MOST_PORTS = 32
_MOST_ADDRESSES = 8
_LOOPBACK = 772  # ARPHRD_LOOPBACK of if_arp.h
_IGNORED = (*CONTAINER_NAMES, "ifb")
_UNKNOWN_SPEED = (1 << 32) - 1  # drivers write -1 in several ways


def network_ports(
    addresses: Mapping[str, Sequence[str]], root: Path = ROOT
) -> list[pb.NetworkPort]:
    """All ports but loopback and those of containers; ``addresses`` of each by its name."""
    folders = [
        folder
        for folder in entries(root / "sys/class/net")
        if read_number(folder / "type") not in (None, _LOOPBACK)
        and not folder.name.startswith(_IGNORED)
    ]
    return [_port(folder, addresses.get(folder.name, ())) for folder in folders[:_MOST_PORTS]]


def addresses_by_port() -> dict[str, list[str]]:
    """The IP addresses of this machine's ports, without link-local ones of IPv6.

    Empty for a service that may not ask for them (``RestrictAddressFamilies`` without netlink).
    """
    try:
        found = psutil.net_if_addrs()
    except OSError:
        return {}
    return {
        name: [
            entry.address
            for entry in entries_of
            if entry.family.name in ("AF_INET", "AF_INET6") and "%" not in entry.address
        ]
        for name, entries_of in found.items()
    }


def _port(folder: Path, addresses: Sequence[str]) -> pb.NetworkPort:
    megabits = read_number(folder / "speed") or 0
    port = pb.NetworkPort(
        name=folder.name,
        is_wireless=(folder / "wireless").exists() or (folder / "phy80211").exists(),
        is_up=_is_up(folder),
        megabits_ps=megabits if 0 < megabits < _UNKNOWN_SPEED else 0,
        carrier_changes=max(0, read_number(folder / "carrier_changes") or 0),
        addresses=list(addresses)[:_MOST_ADDRESSES],
    )
    duplex = read_text(folder / "duplex")
    if duplex in ("full", "half"):
        port.full_duplex = duplex == "full"
    return port


def _is_up(folder: Path) -> bool:
    """Whether it carries data; some drivers know only that there is a carrier."""
    state = read_text(folder / "operstate")
    return state == "up" or (state == "unknown" and read_number(folder / "carrier") == 1)
