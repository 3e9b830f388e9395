"""Finding nodes by real mDNS on loopback, and reading the list that stands in for it."""

import dataclasses
import errno
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from pi_cluster.cluster.discovery import mdns
from pi_cluster.cluster.discovery.mdns import announced, discover
from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.peer import Peer, parse_nodes, split_address

BOUND_S = 20.0  # reached only when something is broken


def make_peer(name: str, address: str = "127.0.0.1:7711") -> Peer:
    """A peer with an id of its own, so that test runs on one machine do not meet."""
    return Peer(address, f"{name}{secrets.token_hex(6)}", name)


@contextmanager
def all_announced(entries: list[tuple[Peer, str]]) -> Iterator[None]:
    """Announce peers of clusters at once: each alone takes more than a second."""
    with ExitStack() as stack, ThreadPoolExecutor(len(entries)) as pool:
        contexts = [announced(peer, cluster, "0.1.0") for peer, cluster in entries]
        for entered in [pool.submit(context.__enter__) for context in contexts]:
            entered.result(BOUND_S)
        for context in contexts:
            stack.callback(pool.submit, context.__exit__, None, None, None)
        yield
        stack.close()


class Watched(mdns._Listener):
    """Ends its search when it has heard of all these ids, or when a peer that it had is gone."""

    def __init__(self, cluster: str, awaited: set[str]) -> None:
        super().__init__(cluster, set())
        self.heard_all, self.found_one, self.lost_one = (threading.Event() for _ in range(3))
        self._awaited = set(awaited)

    def add_service(self, zc: object, type_: str, name: str) -> None:
        super().add_service(zc, type_, name)
        if self.peers():
            self.found_one.set()
        self._awaited.discard(name.partition(".")[0])
        if not self._awaited:
            self.heard_all.set()
            self.complete.set()

    def remove_service(self, zc: object, type_: str, name: str) -> None:
        super().remove_service(zc, type_, name)
        if self.found_one.is_set() and not self.peers():
            self.lost_one.set()
            self.complete.set()


@pytest.fixture(scope="module")
def neighbours() -> Iterator[dict[str, tuple[Peer, str]]]:
    ours, theirs = f"ours-{secrets.token_hex(4)}", f"theirs-{secrets.token_hex(4)}"
    entries = {
        "second": (make_peer("pi2", "127.0.0.1:7712"), ours),
        "first": (make_peer("pi1", "127.0.0.1:7711"), ours),
        "stranger": (make_peer("pi3", "127.0.0.1:7713"), theirs),
    }
    with all_announced(list(entries.values())):
        yield entries


def test_announced_workers_are_found_with_address_id_and_name(neighbours):
    first, cluster = neighbours["first"]
    second, _ = neighbours["second"]
    assert discover(cluster, BOUND_S, {first.node_id, second.node_id}) == [first, second]


def test_workers_of_another_cluster_are_heard_and_not_found(neighbours, monkeypatch):
    first, ours = neighbours["first"]
    second, _ = neighbours["second"]
    listener = Watched(ours, {peer.node_id for peer, _ in neighbours.values()})
    monkeypatch.setattr(mdns, "_Listener", lambda *given: listener)
    assert discover(ours, BOUND_S) == [first, second]
    assert listener.heard_all.is_set()


def test_a_node_that_waits_to_join_is_found_with_its_tokens_id_alone():
    cluster = f"joining-{secrets.token_hex(4)}"
    peer = dataclasses.replace(make_peer("pi5"), joining="0123abcd")
    with announced(peer, cluster, "0.1.0"):
        assert discover(cluster, BOUND_S, {peer.node_id}) == [peer]


def test_a_worker_that_leaves_is_no_longer_found(monkeypatch):
    cluster, peer = f"leaving-{secrets.token_hex(4)}", make_peer("pi4")
    listener = Watched(cluster, {peer.node_id, "an id that nobody has"})
    monkeypatch.setattr(mdns, "_Listener", lambda *given: listener)
    with ThreadPoolExecutor(1) as pool:
        with announced(peer, cluster, "0.1.0"):
            search = pool.submit(discover, cluster, BOUND_S)
            assert listener.found_one.wait(BOUND_S)
            assert listener.peers() == [peer]
        # The goodbye ends the search.
        assert search.result(BOUND_S) == []
    assert listener.lost_one.is_set()
    # It may have been said by somebody else: whoever plans can ask the node itself.
    assert listener.heard([]).departed == [peer]


def test_without_expected_ids_the_search_takes_its_whole_time_and_may_find_nobody():
    assert discover(f"empty-{secrets.token_hex(4)}", 0.01) == []


def test_a_machine_without_mdns_is_told_to_name_its_nodes(monkeypatch):
    def refuse(**given: object) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(mdns, "Zeroconf", refuse)
    with pytest.raises(ClusterError, match=r"No such device.*--nodes HOST:PORT"):
        discover("any", 0.01)


def refusal_of(call: Callable[[str], object], text: str) -> str:
    with pytest.raises(ClusterError) as refusal:
        call(text)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pi1.local:7711", "pi1.local", 7711),
        ("192.168.1.20:1", "192.168.1.20", 1),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("pi1:65535", "pi1", 65535),
        ("pi1:07711", "pi1", 7711),
        ("[::1]:7711", "[::1]", 7711),
        ("[fe80::1%eth0]:80", "[fe80::1%eth0]", 80),
    ],
)
def test_an_address_is_split_into_host_and_port(text, host, port):
    assert split_address(text) == (host, port)


MALFORMED = [
    "",
    ":",
    ":7711",
    "pi1:",
    "pi1:http",
    "pi1:-1",
    "pi1:+1",
    "pi1: 1",
    "pi1:1.5",
    "pi1:1_0",
    "pi1:65536",
    "pi1:٧٧١١",  # digits, but not of ASCII
    "pi1:²",
    pytest.param("pi1:" + "1" * 5_000, id="5000 digits"),
    "::1",
    "fe80::1:7711",
    "[::1:7711",
    "::1]:7711",
    "[::1]7711",
]


@pytest.mark.parametrize("text", [*MALFORMED, "pi1", "[::1]"])
def test_what_is_no_address_is_refused_by_name(text):
    assert refusal_of(split_address, text).startswith(f"{text!r} is not HOST:PORT")


@pytest.mark.parametrize("text", MALFORMED)
def test_a_usual_port_does_not_make_an_address_of_what_is_none(text):
    assert "is not HOST:PORT" in refusal_of(lambda t: split_address(t, 7711), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pi1", ("pi1", 7711)),
        ("[::1]", ("[::1]", 7711)),
        ("[::1]:80", ("[::1]", 80)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
    ],
)
def test_the_usual_port_is_taken_where_none_is_named(text, expected):
    assert split_address(text, 7711) == expected


def test_a_list_of_nodes_keeps_its_order_and_forgives_spaces():
    assert parse_nodes("pi2:7712, 10.0.0.1:80 ,[::1]:9,pi1.local") == [
        Peer("pi2:7712"),
        Peer("10.0.0.1:80"),
        Peer("[::1]:9"),
        Peer("pi1.local:7711"),
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [("pi1:1,", "''"), ("", "''"), ("pi1:1,,pi2:2", "''"), ("pi1:1,pi2:x", "'pi2:x'")],
)
def test_a_list_with_an_entry_that_is_no_address_names_the_entry(text, named):
    assert refusal_of(parse_nodes, text).startswith(f"{named} is not HOST:PORT")


@pytest.mark.parametrize(
    "text", ["pi1:7711,pi2:7711,pi1:7711", "pi1:7711,pi1:07711", "pi1,pi1:7711"]
)
def test_a_node_that_is_listed_twice_is_named(text):
    assert refusal_of(parse_nodes, text) == "--nodes names pi1:7711 twice"


def test_a_node_that_may_not_use_multicast_says_how_to_do_without(monkeypatch):
    def refused(**_):
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(mdns, "Zeroconf", refused)
    with (
        pytest.raises(ClusterError, match=r"Protocol not available.*--no-mdns.*--nodes"),
        announced(make_peer("mute"), "any", "0.1.0"),
    ):
        pass
