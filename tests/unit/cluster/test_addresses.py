"""Which addresses a machine offers, and in which order those of others are tried: no network."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pi_cluster.cluster.wire.addresses import (
    MOST_OFFERED,
    Offer,
    for_others,
    in_order_of_sense,
    offered,
    offered_of,
    parsed,
    without_scope,
)
from pi_cluster.cluster.wire.interfaces import (
    Interface,
    InterfaceAddress,
    LinkKind,
    kind_of,
    own_interfaces,
)
from pi_cluster.cluster.wire.peer import Peer, split_address

CABLE, WIRELESS, TUNNEL = LinkKind.CABLE, LinkKind.WIRELESS, LinkKind.TUNNEL
CONTAINER, LOOPBACK = LinkKind.CONTAINER, LinkKind.LOOPBACK


def interface(name, kind, *addresses):
    each = [ipaddress.ip_interface(address) for address in addresses]
    return Interface(name, kind, tuple(InterfaceAddress(one.ip, one.network) for one in each))


LO = interface("lo", LOOPBACK, "127.0.0.1/8", "::1/128")
ETH = interface("eth0", CABLE, "192.168.1.5/24", "fd00::5/64", "fe80::5/64")
RADIO = interface("wlan0", WIRELESS, "192.168.1.6/24", "fe80::6/64")
VPN = interface("wg0", TUNNEL, "10.8.0.5/24")
DOCKER = interface("docker0", CONTAINER, "172.17.0.1/16")
ALL = (LO, DOCKER, VPN, RADIO, ETH)


def test_the_best_way_is_offered_first_and_loopback_and_bridges_of_containers_never():
    assert offered(ALL) == [
        Offer("192.168.1.5", CABLE),
        Offer("fd00::5", CABLE),
        Offer("fe80::5", CABLE),
        Offer("192.168.1.6", WIRELESS),
        Offer("fe80::6", WIRELESS),
        Offer("10.8.0.5", TUNNEL),
    ]
    assert offered([LO, DOCKER]) == []
    many = interface("eth0", CABLE, *(f"10.0.{number}.1/24" for number in range(50)))
    assert len(offered([many])) == MOST_OFFERED


def test_a_worker_that_listens_on_some_addresses_offers_those_that_it_has():
    assert offered_of(["192.168.1.6"], ALL) == [Offer("192.168.1.6", WIRELESS)]
    assert offered_of(["fe80::5%eth0"], ALL) == [Offer("fe80::5", CABLE)]
    assert offered_of(["127.0.0.1", "::1"], ALL) == [
        Offer("127.0.0.1", LOOPBACK),
        Offer("::1", LOOPBACK),
    ]
    assert offered_of(["192.168.1.77"], ALL) == []


def test_the_networks_that_this_machine_is_on_come_before_what_routers_lead_to():
    told = ["203.0.113.9:1", "10.8.0.2:1", "192.168.1.2:1", "172.17.0.2:1", "127.0.0.1:1"]
    assert in_order_of_sense(told, ALL) == [
        *("192.168.1.2:1", "203.0.113.9:1", "10.8.0.2:1", "172.17.0.2:1", "127.0.0.1:1")
    ]


def test_what_the_other_side_tells_of_its_interfaces_counts_where_networks_are_alike():
    addresses = ["192.168.1.30:1", "192.168.1.20:1"]
    assert in_order_of_sense(addresses, [ETH]) == addresses
    told = {"192.168.1.30": WIRELESS}
    assert in_order_of_sense(addresses, [ETH], told) == addresses[::-1]
    routed = ["10.66.0.2:1", "198.51.100.2:1"]
    assert in_order_of_sense(routed, [ETH], {"10.66.0.2": TUNNEL}) == routed[::-1]


def test_our_own_radio_is_worse_than_our_cable():
    apart = (
        interface("wlan0", WIRELESS, "10.1.0.1/24"),
        interface("eth0", CABLE, "10.2.0.1/24"),
    )
    assert in_order_of_sense(["10.1.0.2:1", "10.2.0.2:1"], apart) == ["10.2.0.2:1", "10.1.0.2:1"]


def test_ipv4_comes_before_ipv6_and_link_local_addresses_last():
    told = ["[fe80::2%eth0]:1", "[fd00::2]:1", "192.168.1.2:1"]
    assert in_order_of_sense(told, [ETH]) == told[::-1]


def test_a_link_local_address_without_scope_is_tried_where_it_may_lead():
    told = ["[fe80::2]:1"]
    assert in_order_of_sense(told, ALL) == ["[fe80::2%eth0]:1", "[fe80::2%wlan0]:1"]
    assert in_order_of_sense(told, [VPN]) == []


def test_names_of_interfaces_are_not_told_to_others_and_loopback_only_where_there_is_no_more():
    assert without_scope("[fe80::2%eth0]:7711") == "[fe80::2]:7711"
    assert without_scope("pi1.local:7711") == "pi1.local:7711"
    assert for_others(["127.0.0.1:1", "10.0.0.1:1", "10.0.0.1:1"]) == ["10.0.0.1:1"]
    assert for_others(["127.0.0.1:1"]) == ["127.0.0.1:1"]


HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
    st.ip_addresses(network="192.168.1.0/24").map(str),
    st.ip_addresses(network="fe80::/64").map(lambda ip: f"[{ip}%eth0]"),
    st.sampled_from(["pi1.local", "localhost", "[::1]", "127.0.0.1", "169.254.3.4"]),
)
ADDRESSES = st.lists(st.builds("{}:{}".format, HOSTS, st.integers(1, 65535)), max_size=20)
OURS = st.lists(st.sampled_from(ALL), unique_by=lambda one: one.name)


def lies_on_a_link(address):
    ip = parsed(split_address(address)[0])
    return ip is not None and ip in ipaddress.ip_network("fe80::/10")


@example(["[fe90::]:1"], [])
@given(ADDRESSES, OURS)
def test_nothing_is_lost_doubled_or_made_up_whatever_is_told(addresses, ours):
    ordered = in_order_of_sense(addresses, ours)
    assert len(ordered) == len(set(ordered))
    unscoped = [a for a in addresses if "%" not in a and lies_on_a_link(a)]
    assert set(addresses) - set(unscoped) <= set(ordered)
    for address in ordered:
        split_address(address)
        assert address in addresses or without_scope(address) in map(without_scope, unscoped)


@given(ADDRESSES, OURS)
def test_the_order_is_settled(addresses, ours):
    once = in_order_of_sense(addresses, ours)
    assert in_order_of_sense(once, ours) == once


@given(ADDRESSES, OURS)
def test_a_network_of_ours_is_never_behind_one_of_a_vpn_or_of_loopback(addresses, ours):
    lan = [i for i, a in enumerate(in_order_of_sense(addresses, [ETH])) if a.startswith("192.")]
    loop = [i for i, a in enumerate(in_order_of_sense(addresses, [ETH])) if a.startswith("127.")]
    assert not lan or not loop or max(lan) < min(loop)


def test_this_machines_interfaces_are_told_with_loopback_as_such():
    found = own_interfaces()
    assert any(one.kind is LOOPBACK for one in found)
    assert not any(offer.host.startswith("127.") for offer in offered(found))


ADDRESS = InterfaceAddress(ipaddress.ip_address("10.0.0.1"), ipaddress.ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("name", "files", "kind"),
    [
        ("eth0", {}, CABLE),
        ("eth0", {"eth0/type": "no number"}, CABLE),
        ("radio", {"radio/phy80211/name": "phy0"}, WIRELESS),
        ("radio", {"radio/wireless/x": ""}, WIRELESS),
        ("home", {"home/type": "65534"}, TUNNEL),
        ("home", {"home/type": "512"}, TUNNEL),
        ("br0", {"br0/bridge/x": "", "br0/brif/veth1/x": ""}, CONTAINER),
        ("br0", {"br0/bridge/x": "", "br0/brif/eth0/x": "", "eth0/device/x": ""}, CABLE),
        # Where the system says nothing, the name tells.
        ("tun0", {}, TUNNEL),
        ("tailscale0", {}, TUNNEL),
        ("utun3", {}, TUNNEL),
        ("awdl0", {}, WIRELESS),
        ("wlp2s0", {}, WIRELESS),
        ("docker0", {}, CONTAINER),
    ],
)
def test_the_kind_of_an_interface_is_what_the_system_says_of_it(tmp_path, name, files, kind):
    for file, text in files.items():
        path = tmp_path / "sys/class/net" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert kind_of(name, (ADDRESS,), tmp_path) is kind


def test_a_peer_at_other_addresses_is_the_same_node():
    peer = Peer("10.0.0.1:1", "id", "pi1", others=("10.0.0.2:1",))
    assert peer.addresses == ("10.0.0.1:1", "10.0.0.2:1")
    assert peer.at(["10.0.0.3:1"]) == Peer("10.0.0.3:1", "id", "pi1")
    assert peer.at(peer.addresses) == peer
