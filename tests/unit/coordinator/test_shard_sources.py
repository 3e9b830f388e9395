"""From where shards come: from nodes that have them, else from the operator, each once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.store.manifest import ShardFile, layer_file_name
from pi_cluster.coordinator.pipeline.shard_sources import Move, Sources

FILES = [ShardFile(layer_file_name(n), 100, f"{n:064x}") for n in range(12)]
DIGESTS = [file.sha256 for file in FILES]


def test_the_operator_sends_what_no_node_holds_one_after_another():
    sources = Sources({"a": FILES[:2]}, {"a": [], "b": []})
    assert sources.begin_fetch("a") is None
    assert sources.begin_sending("a") == Move(FILES[0], "a", None)
    assert sources.begin_sending("a") == Move(FILES[1], "a", None)
    assert sources.begin_sending("a") is None
    sources.arrived(Move(FILES[0], "a", None))
    assert sources.lacks_any("a")
    sources.arrived(Move(FILES[1], "a", None))
    assert not sources.lacks_any("a")


def test_a_node_that_holds_a_shard_hands_it_on_and_the_operator_does_not_send_it():
    sources = Sources({"a": FILES[:2]}, {"a": [], "b": DIGESTS[:1]})
    assert sources.begin_sending("a") == Move(FILES[1], "a", None)
    assert sources.begin_sending("a") is None
    assert sources.begin_fetch("a") == Move(FILES[0], "a", "b")
    assert sources.begin_fetch("a") is None


def test_a_node_serves_two_fetches_at_a_time_and_others_wait():
    sources = Sources({"a": FILES[:2], "b": FILES[2:4]}, {"c": DIGESTS})
    first, second = sources.begin_fetch("a"), sources.begin_fetch("b")
    assert (first, second) == (Move(FILES[0], "a", "c"), Move(FILES[2], "b", "c"))
    assert sources.begin_fetch("a") is None
    assert sources.begin_sending("a") is None
    sources.arrived(second)
    assert sources.begin_fetch("a") == Move(FILES[1], "a", "c")


def test_of_several_nodes_that_hold_it_the_least_busy_one_is_asked():
    sources = Sources({"a": FILES[:3]}, {"c": DIGESTS, "b": DIGESTS})
    assert [sources.begin_fetch("a").source_id for _ in range(3)] == ["b", "c", "b"]


def test_what_two_nodes_lack_is_sent_once_and_then_handed_on():
    sources = Sources({"a": FILES[:2], "b": FILES[:2]}, {})
    to_a, to_b = sources.begin_sending("a"), sources.begin_sending("b")
    assert (to_a, to_b) == (Move(FILES[0], "a", None), Move(FILES[1], "b", None))
    assert sources.begin_sending("a") is None and sources.begin_sending("b") is None
    assert sources.begin_fetch("b") is None
    sources.arrived(to_a)
    assert sources.begin_sending("b") is None
    assert sources.begin_fetch("b") == Move(FILES[0], "b", "a")


def test_after_a_source_has_failed_the_operator_sends():
    sources = Sources({"a": FILES[:2]}, {"b": DIGESTS})
    sources.source_failed(sources.begin_fetch("a"))
    assert sources.begin_fetch("a") is None
    assert sources.begin_sending("a") == Move(FILES[0], "a", None)
    assert sources.begin_sending("a") == Move(FILES[1], "a", None)


def test_after_a_source_has_failed_another_one_is_asked():
    sources = Sources({"a": FILES[:1]}, {"b": DIGESTS, "c": DIGESTS})
    sources.source_failed(sources.begin_fetch("a"))
    assert sources.begin_sending("a") is None
    assert sources.begin_fetch("a") == Move(FILES[0], "a", "c")


def test_a_lost_node_gets_nothing_and_what_it_was_getting_goes_to_who_waits_for_it():
    sources = Sources({"a": FILES[:1], "b": FILES[:1]}, {"a": DIGESTS[1:]})
    to_a = sources.begin_sending("a")
    assert sources.begin_sending("b") is None
    sources.give_up("a")
    assert not sources.lacks_any("a")
    assert sources.begin_sending("b") == Move(FILES[0], "b", None)
    sources.source_failed(to_a)  # told late
    assert not sources.lacks_any("a")


@settings(max_examples=200)
@given(data=st.data())
def test_whatever_fails_every_shard_arrives_exactly_once_at_each_node_that_stays(data):
    nodes = ["a", "b", "c", "d"]
    some = st.sets(st.sampled_from(FILES))
    held = {node: data.draw(some) for node in nodes}
    lacking = {node: sorted(data.draw(some) - held[node], key=lambda f: f.name) for node in nodes}
    sources = Sources(lacking, {node: {f.sha256 for f in held[node]} for node in nodes})
    moving, arrived, lost = [], [], set()
    while any(sources.lacks_any(node) for node in nodes):
        begun = [b(n) for n in nodes for b in (sources.begin_fetch, sources.begin_sending)]
        moving += [move for move in begun if move]
        assert moving, "nothing moves and something is lacking"
        move = moving.pop(data.draw(st.integers(0, len(moving) - 1)))
        if move.node_id in lost:
            continue
        fate = data.draw(st.sampled_from(["arrives", "arrives", "source fails", "node is lost"]))
        if fate == "source fails" and move.source_id:
            sources.source_failed(move)
        elif fate == "node is lost" and len(lost) < 2:
            lost.add(move.node_id)
            sources.give_up(move.node_id)
        else:
            sources.arrived(move)
            arrived.append((move.node_id, move.file))
    for node in set(nodes) - lost:
        got = [file for receiver, file in arrived if receiver == node]
        assert sorted(got, key=lambda f: f.name) == lacking[node]


@pytest.mark.parametrize("holders", [["a"], ["a", "b"]])
def test_a_node_is_never_asked_for_what_it_fetches_itself(holders):
    sources = Sources({"a": FILES[:1]}, dict.fromkeys(holders, DIGESTS))
    move = sources.begin_fetch("a")
    assert move is None or move.source_id == "b"
