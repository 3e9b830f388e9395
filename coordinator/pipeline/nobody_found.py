"""What to do where mDNS finds no node."""

import ipaddress
from socket import AF_INET, AF_INET6

import psutil

from pi_cluster.cluster import settings
from pi_cluster.cluster.advice import command
from pi_cluster.cluster.trust.holdings import is_initialised


def nobody_found(cluster: str) -> str:
    """How nodes are had where mDNS finds none; what this machine lacks comes first."""
    here = f"to try it on this machine alone: `{command(cluster, 'up', '--local', '3')}`"
    if not _has_network():
        return (
            "this machine has no network: none of its interfaces but loopback is up and has an "
            f"address (`ip address` shows them). Connect it, and run the same again; or, {here}"
        )
    name_them = "name them with --nodes HOST:PORT,..."
    if is_initialised(settings.cluster_config(cluster)):
        return (
            f"let nodes join (`{command(cluster, 'token', 'create')}` prints how), set them up "
            f"over SSH with --hosts USER@HOST,..., or {name_them}; {here}"
        )
    return (
        f"this machine has no certificates for it, which `{command(cluster, 'init')}` makes, and "
        f"`{command(cluster, 'up', '--hosts', 'USER@HOST,...')}` then sets Pis up; where none are "
        f"needed, start `{command(cluster, 'worker')}` or {name_them}; {here}"
    )


def _has_network() -> bool:
    """Whether an interface other than loopback is up and has an address."""
    addresses = psutil.net_if_addrs()
    ours = {
        name
        for name, held in addresses.items()
        if any(one.family in (AF_INET, AF_INET6) and not _is_own(one.address) for one in held)
    }
    return any(one.isup for name, one in psutil.net_if_stats().items() if name in ours)


def _is_own(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
