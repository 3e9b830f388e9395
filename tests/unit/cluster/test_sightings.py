"""What is made of announcements, of which anyone may make as many and as strange as they like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_cluster.cluster.discovery.sightings import MAX_NAME, MOST_NODES, Sightings
from pi_cluster.cluster.wire.peer import MOST_ADDRESSES, split_address

OURS = "home"


def told(**properties):
    values = {"cluster": OURS, "name": "pi1"} | properties
    return {key.encode(): value.encode() for key, value in values.items()}


def peers(sightings):
    return sightings.peers([])


def test_an_announcement_of_somebody_else_does_not_hide_a_nodes_own():
    sightings = Sightings(OURS)
    sightings.hear("a1", ["10.0.0.1"], 7711, told())
    sightings.hear("a1", ["10.0.0.66"], 666, told(name="not pi1"))
    (peer,) = peers(sightings)
    assert peer.addresses == ("10.0.0.1:7711", "10.0.0.66:666") and peer.name == "pi1"


def test_a_node_of_which_somebody_says_that_it_waits_to_join_is_still_one_that_has_joined():
    sightings = Sightings(OURS)
    sightings.hear("a1", ["10.0.0.66"], 666, told(joining="0123abcd"))
    sightings.hear("a1", ["10.0.0.1"], 7711, told())
    assert [(peer.address, peer.joining) for peer in peers(sightings)] == [
        ("10.0.0.1:7711", ""),
        ("10.0.0.66:666", "0123abcd"),
    ]


def test_a_goodbye_makes_a_node_one_that_parted_until_it_is_heard_again():
    sightings = Sightings(OURS)
    sightings.hear("a1", ["10.0.0.1"], 7711, told())
    sightings.part("a1")
    assert peers(sightings) == [] and sightings.ids == set()
    assert [peer.node_id for peer in sightings.departed([])] == ["a1"]
    sightings.hear("a1", ["10.0.0.1"], 7711, told())
    assert [peer.node_id for peer in peers(sightings)] == ["a1"]
    assert sightings.departed([]) == []


def test_strangers_are_bounded_and_do_not_crowd_out_a_node_that_is_known():
    sightings = Sightings(OURS, ["known"])
    for number in range(10 * MOST_NODES):
        sightings.hear(f"x{number}", ["10.0.0.66"], 666, told(name="x"))
    sightings.hear("known", ["10.0.0.1"], 7711, told())
    for number in range(100):
        sightings.hear("known", ["10.0.0.66"], 666, told(joining=f"{number:x}"))
        sightings.hear("known", [f"10.1.0.{number}"], 666, told())
    found = peers(sightings)
    assert len(found) <= MOST_NODES + 4
    assert sightings.left_out >= 9 * MOST_NODES
    known = next(peer for peer in found if peer.node_id == "known" and not peer.joining)
    assert known.address == "10.0.0.1:7711" and len(known.addresses) == MOST_ADDRESSES


@pytest.mark.parametrize(
    "node_id", ["", "a b", "a\x1b[2J", "a.b", "a/b", "á", "a" * 64, "a\n", "..", "a_b"]
)
def test_an_id_that_no_node_can_have_is_passed_over(node_id):
    sightings = Sightings(OURS)
    sightings.hear(node_id, ["10.0.0.1"], 7711, told())
    assert peers(sightings) == []


@pytest.mark.parametrize(
    ("hosts", "port", "properties"),
    [
        (["10.0.0.1"], 0, told()),
        (["10.0.0.1"], 65536, told()),
        ([], 7711, told()),
        (["evil.example"], 7711, told()),
        (["10.0.0.1%\x1b[2J"], 7711, told()),
        (["fe80::1%" + "x" * 16], 7711, told()),
        (["10.0.0.1"], 7711, told(cluster="away")),
        (["10.0.0.1"], 7711, {}),
        (["10.0.0.1"], 7711, told(joining="no token")),
        (["10.0.0.1"], 7711, told(joining="\x1b]52;c;x\x07")),
        (["10.0.0.1"], 7711, told(joining="0" * 17)),
    ],
)
def test_what_is_no_announcement_of_ours_is_passed_over(hosts, port, properties):
    sightings = Sightings(OURS)
    sightings.hear("a1", hosts, port, properties)
    assert peers(sightings) == []


@given(
    st.dictionaries(
        st.sampled_from([b"cluster", b"name", b"joining", b"wireless", b"tunnel", b"x"]),
        st.one_of(st.binary(max_size=255), st.just(OURS.encode())),
    ),
    st.lists(st.one_of(st.text(max_size=40), st.ip_addresses().map(str)), max_size=40),
    st.integers(-1, 70_000),
)
def test_whatever_is_announced_what_comes_out_is_short_and_can_be_called(properties, hosts, port):
    sightings = Sightings(OURS)
    sightings.hear("a1", hosts, port, properties | {b"cluster": OURS.encode()})
    for peer in peers(sightings):
        assert len(peer.name) <= MAX_NAME and len(peer.joining) <= 16
        assert len(peer.addresses) <= MOST_ADDRESSES
        for address in peer.addresses:
            split_address(address)


def test_wi_fi_and_vpns_are_known_as_such_by_what_a_node_tells():
    sightings = Sightings(OURS)
    hosts = ["10.8.0.2", "10.0.0.3", "10.0.0.2"]
    sightings.hear("a1", hosts, 1, told(wireless="10.0.0.3", tunnel="10.8.0.2,nonsense,"))
    (peer,) = peers(sightings)
    assert peer.addresses == ("10.0.0.2:1", "10.0.0.3:1", "10.8.0.2:1")
