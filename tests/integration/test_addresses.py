"""Addresses that come, go, and are several: announced, followed and tried in network namespaces."""

import secrets
import sys

import pytest

from tests.support.cluster_process import eventually
from tests.support.namespaces import Switch, impossible

pytestmark = pytest.mark.skipif(bool(impossible()), reason=impossible())

PATIENCE_S = 25.0
# Claims names of the kind that nodes have, as many as one packet holds, and tells no more of them.
CLAIM = """
import socket, time
from zeroconf import DNSOutgoing, DNSPointer
from zeroconf.const import _CLASS_IN, _FLAGS_AA, _FLAGS_QR_RESPONSE, _TYPE_PTR
from pi_cluster.cluster.discovery.mdns import SERVICE_TYPE
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.9.0.66"))
    print("claiming", flush=True)
    for number in range(10**9):
        packet = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
        for last in range(20):
            alias = f"nobody{number:x}x{last}.{SERVICE_TYPE}"
            pointer = DNSPointer(SERVICE_TYPE, _TYPE_PTR, _CLASS_IN, 4500, alias)
            packet.add_answer_at_time(pointer, 0)
        out.sendto(packet.packets()[0], ("224.0.0.251", 5353))
        if number > 50:
            time.sleep(0.05)
"""
EVERYWHERE = "0.0.0.0:7711"


@pytest.fixture
def switch(tmp_path):
    with Switch(tmp_path) as made:
        yield made


@pytest.fixture
def operator(switch):
    """A computer with a cable and 10.9.0.1."""
    made = switch.computer("operator", "eth0")
    made.ip("addr", "add", "10.9.0.1/24", "dev", "eth0")
    return made


@pytest.fixture
def name():
    return f"test-{secrets.token_hex(5)}"


def without_ipv6(computer):
    computer.sysctl("net.ipv6.conf.all.disable_ipv6=1")
    return computer


def hosts_of(peers):
    """The addresses of the only peer, without their ports."""
    assert len(peers) <= 1, peers
    addresses = [one for peer in peers for one in (peer["address"], *peer["others"])]
    return [address.rpartition(":")[0] for address in addresses]


def heard(operator, name, holds):
    """The only peer's addresses, once they are as wanted."""
    return eventually(lambda: hosts_of(operator.listen(name, 1.5)), holds, PATIENCE_S)


def test_a_worker_that_gets_another_address_announces_that_one(switch, operator, name):
    pi = without_ipv6(switch.computer("pi", "eth0"))
    pi.ip("addr", "add", "10.9.0.11/24", "dev", "eth0")
    pi.announce(name, EVERYWHERE, "pi1")
    assert hosts_of(operator.listen(name, 10, "pi1")) == ["10.9.0.11"]
    pi.ip("addr", "del", "10.9.0.11/24", "dev", "eth0")
    pi.ip("addr", "add", "10.9.0.99/24", "dev", "eth0")
    heard(operator, name, lambda hosts: hosts == ["10.9.0.99"])


def test_a_worker_that_starts_before_the_network_is_found_once_it_is_there(switch, operator, name):
    pi = without_ipv6(switch.computer("pi", "eth0"))
    running = pi.announce(name, EVERYWHERE, "pi1")
    assert pi.listen(name, 1.5) == [], "loopback leads nobody to it"
    pi.ip("addr", "add", "10.9.0.11/24", "dev", "eth0")
    heard(operator, name, lambda hosts: hosts == ["10.9.0.11"])
    pi.ip("addr", "flush", "dev", "eth0")
    heard(operator, name, lambda hosts: hosts == [])
    assert running.process.poll() is None


def test_an_interface_that_is_plugged_in_later_is_announced_too(switch, operator, name):
    pi = without_ipv6(switch.computer("pi", "wlan0"))
    pi.ip("addr", "add", "10.9.0.12/24", "dev", "wlan0")
    pi.announce(name, EVERYWHERE, "pi1")
    assert hosts_of(operator.listen(name, 10, "pi1")) == ["10.9.0.12"]
    switch.cable(pi, "eth0")
    pi.ip("addr", "add", "10.9.0.11/24", "dev", "eth0")
    # The cable is tried first.
    heard(operator, name, lambda hosts: hosts == ["10.9.0.11", "10.9.0.12"])


def test_a_vpn_that_both_sides_have_is_tried_last_and_bridges_of_containers_never(switch, name):
    sides = [switch.computer(side, "eth0") for side in ("operator", "pi")]
    for number, side in enumerate(sides, 1):
        without_ipv6(side)
        side.ip("tuntap", "add", "dev", "tun0", "mode", "tun")
        side.ip("link", "add", "docker0", "type", "bridge")
        side.ip("link", "add", "br0", "type", "bridge")
        for interface, network in (("tun0", "10.1"), ("docker0", "10.2"), ("br0", "10.3")):
            side.ip("addr", "add", f"{network}.0.{number}/24", "dev", interface)
            side.ip("link", "set", interface, "up")
        side.ip("addr", "add", f"10.9.0.{number}/24", "dev", "eth0")
    operator, pi = sides
    pi.announce(name, EVERYWHERE, "pi1")
    assert hosts_of(operator.listen(name, 10, "pi1")) == ["10.9.0.2", "10.1.0.2"]


def test_on_a_network_of_ipv6_alone_a_worker_is_found(switch, name):
    sides = [switch.computer(side, "eth0") for side in ("operator", "pi")]
    sides[1].ip("addr", "add", "fd00:9::2/64", "dev", "eth0")
    sides[0].ip("addr", "add", "fd00:9::1/64", "dev", "eth0")
    operator, pi = sides
    pi.announce(name, EVERYWHERE, "pi1")
    heard(
        operator,
        name,
        lambda hosts: (
            hosts[:1] == ["[fd00:9::2]"]
            and len(hosts) == 2
            and hosts[1].startswith("[fe80::")
            and hosts[1].endswith("%eth0]")
        ),
    )


def test_a_worker_that_listens_on_one_address_is_announced_while_it_has_it(switch, operator, name):
    pi = without_ipv6(switch.computer("pi", "eth0"))
    pi.ip("addr", "add", "10.9.0.11/24", "dev", "eth0")
    pi.ip("addr", "add", "10.9.0.12/24", "dev", "eth0")
    pi.announce(name, "10.9.0.12:7711", "pi1")
    assert hosts_of(operator.listen(name, 10, "pi1")) == ["10.9.0.12"]
    pi.ip("addr", "del", "10.9.0.12/24", "dev", "eth0")
    heard(operator, name, lambda hosts: hosts == [])


def test_two_that_announce_one_id_are_both_heard(switch, operator, name):
    for number in (11, 12):
        pi = without_ipv6(switch.computer(f"pi{number}", "eth0"))
        pi.ip("addr", "add", f"10.9.0.{number}/24", "dev", "eth0")
        pi.announce(name, EVERYWHERE, "pi1")
    heard(operator, name, lambda hosts: set(hosts) == {"10.9.0.11", "10.9.0.12"})


def test_names_that_somebody_only_claims_do_not_keep_a_node_from_being_found(
    switch, operator, name
):
    pi = without_ipv6(switch.computer("pi", "eth0"))
    pi.ip("addr", "add", "10.9.0.11/24", "dev", "eth0")
    somebody = without_ipv6(switch.computer("somebody", "eth0"))
    somebody.ip("addr", "add", "10.9.0.66/24", "dev", "eth0")
    claiming = somebody.start(sys.executable, "-c", CLAIM)
    assert claiming.read_line() == "claiming"
    pi.announce(name, EVERYWHERE, "pi1")
    assert hosts_of(operator.listen(name, 10, "pi1")) == ["10.9.0.11"]
    assert claiming.process.poll() is None, claiming.error_text
