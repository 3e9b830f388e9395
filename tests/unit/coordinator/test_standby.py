"""Where copies stand by: whoever is lost, nothing moves, as far as disks have room."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.planning.costs import LayerCost, ModelFootprint
from pi_cluster.coordinator.planning.healing_plan import EMBEDDING, moved_bytes, plan_again
from pi_cluster.coordinator.planning.plan import lay_out
from pi_cluster.coordinator.planning.standby import (
    Copies,
    place_copies,
    still_standing_by,
    without_copies,
)
from pi_cluster.coordinator.planning.throughput_plan import plan_layers
from tests.support.capacities import all_ranges, capacity, layers_that_differ

LAYERS = 6
ALIKE = ModelFootprint((LayerCost(10, 1, 1),) * LAYERS, 4, 5, 1, 1, 1)
NODES = [capacity(name) for name in "abc"]
PLAN = lay_out(ALIKE, NODES, list(zip(NODES, map(LayerRange, (0, 2, 4), (2, 4, 6)), strict=True)))
AMPLE = 10**9


def own(plan, n_layers):
    """By node id, what its stage maps."""
    on_disk = {node_id: set() for node_id in plan.unused}
    for stage in plan.stages:
        start, stop = stage.layers.start, stage.layers.stop
        ends = {EMBEDDING} if start == 0 else set()
        on_disk[stage.node_id] = {*range(start, stop), *ends} | (
            {n_layers} if stop == n_layers else set()
        )
    return on_disk


def on_disk(plan, copies, n_layers):
    held = own(plan, n_layers)
    for one in copies:
        assert not held[one.node_id] & set(one.layers), "no node stands by for itself"
        held[one.node_id] |= set(one.layers)
    return held


def moved_without(footprint, nodes, plan, copies, lost):
    """Bytes that travel to go on without some nodes."""
    held = on_disk(plan, copies, footprint.n_layers)
    left = [node for node in nodes if node.node_id not in lost]
    return moved_bytes(footprint, plan_again(footprint, left, held, plan), held)


def placed(footprint, nodes, plan, replicas, room_bytes=AMPLE, held=()):
    room = room_bytes if isinstance(room_bytes, dict) else {n.node_id: room_bytes for n in nodes}
    return place_copies(footprint, nodes, plan, replicas, room, dict(held))


def size_of(footprint, layer):
    ends = {EMBEDDING: footprint.embedding_bytes, footprint.n_layers: footprint.head_bytes}
    return ends[layer] if layer in ends else footprint.layers[layer].weight_bytes


def test_neighbours_share_the_layers_of_a_node_so_that_the_slowest_stage_stays_fast():
    assert placed(ALIKE, NODES, PLAN, 2) == (
        Copies("a", "a", (2,)),
        Copies("b", "b", (EMBEDDING, 0, 1, 4, 5, LAYERS)),
        Copies("c", "c", (3,)),
    )


def test_with_one_replica_nothing_stands_by():
    assert placed(ALIKE, NODES, PLAN, 1) == ()


def test_three_replicas_are_enough_for_any_two_that_are_lost_at_once():
    copies = placed(ALIKE, NODES, PLAN, 3)
    assert without_copies(copies, LAYERS, 3) == ()
    for lost in (*combinations("abc", 1), *combinations("abc", 2)):
        assert moved_without(ALIKE, NODES, PLAN, copies, lost) == 0


def test_a_node_without_a_stage_keeps_copies_too():
    nodes = [*NODES, capacity("spare")]
    pairs = [(node, stage.layers) for node, stage in zip(NODES, PLAN.stages, strict=True)]
    plan = lay_out(ALIKE, nodes, pairs)
    copies = placed(ALIKE, nodes, plan, 2)
    assert "spare" in [one.node_id for one in copies]
    assert all(moved_without(ALIKE, nodes, plan, copies, [lost]) == 0 for lost in "abc")


def test_who_has_no_room_on_its_disk_keeps_nothing_and_others_stand_in():
    copies = placed(ALIKE, NODES, PLAN, 2, {"a": AMPLE, "b": 0, "c": AMPLE})
    assert [one.node_id for one in copies] == ["a", "c"]
    assert without_copies(copies, LAYERS, 2) == ()
    assert moved_without(ALIKE, NODES, PLAN, copies, "b") == 0


def test_where_disks_are_short_it_is_said_of_which_layers():
    copies = placed(ALIKE, NODES, PLAN, 2, {"a": 0, "b": 25, "c": 0})
    (one,) = copies
    assert one.node_id == "b" and sum(size_of(ALIKE, layer) for layer in one.layers) <= 25
    lacking = set(range(-1, LAYERS + 1)) - set(one.layers)
    assert without_copies(copies, LAYERS, 2) == tuple(sorted(lacking))


def test_what_is_on_a_disk_already_takes_no_room():
    held = {"b": {EMBEDDING, 0, 1, 4, 5, LAYERS}}
    copies = placed(ALIKE, NODES, PLAN, 2, {"a": 10, "b": 0, "c": 10}, held)
    assert without_copies(copies, LAYERS, 2) == ()


def test_layers_that_nobody_could_compute_in_the_end_are_kept_safe_all_the_same():
    small = [capacity(name, 45) for name in "abc"]  # a third of the model each, and no more
    copies = placed(ALIKE, small, PLAN, 2)
    assert without_copies(copies, LAYERS, 2) == ()


def test_a_node_alone_has_nobody_to_stand_by():
    plan = lay_out(ALIKE, NODES[:1], [(NODES[0], LayerRange(0, LAYERS))])
    assert placed(ALIKE, NODES[:1], plan, 2) == ()
    assert len(without_copies((), LAYERS, 2)) == LAYERS + 2


def test_after_a_heal_what_became_a_nodes_own_is_no_copy_any_more():
    left = [NODES[0], NODES[2]]
    after = lay_out(ALIKE, left, list(zip(left, map(LayerRange, (0, 3), (3, 6)), strict=True)))
    copies = (Copies("a", "a", (2, 5)), Copies("b", "b", (0,)), Copies("c", "c", (3,)))
    assert still_standing_by(copies, after, LAYERS) == (Copies("a", "a", (5,)),)


@settings(max_examples=60)
@given(
    layers=layers_that_differ(7, most_macs=1),
    figures=st.lists(
        st.tuples(st.integers(60, 600), st.sampled_from([1.0, 2.0, 9.0])), min_size=2, max_size=4
    ),
)
def test_whoever_is_lost_nothing_moves_where_memory_and_disks_suffice(layers, figures):
    footprint = ModelFootprint(layers, 7, 11, 2, 1, 1)
    nodes = [capacity(f"n{i}", *pair) for i, pair in enumerate(figures)]
    if not any(_fits(footprint, nodes, ranges) for ranges in all_ranges(len(layers), len(nodes))):
        return
    plan = plan_layers(footprint, nodes)
    copies = placed(footprint, nodes, plan, 2)
    assert without_copies(copies, len(layers), 2) == ()
    for stage in plan.stages:
        left = [node for node in nodes if node.node_id != stage.node_id]
        # Those who have no memory for lost layers alone have others' moved to them: as few bytes
        # as if everybody kept all that was lost.
        with_lost = own(plan, len(layers))
        lost = with_lost.pop(stage.node_id)
        free = {node.node_id: with_lost[node.node_id] | lost for node in left}
        try:
            at_best = moved_bytes(footprint, plan_again(footprint, left, free, plan), free)
        except PlanError:
            continue  # nobody has the memory
        assert moved_without(footprint, nodes, plan, copies, [stage.node_id]) <= at_best


def _fits(footprint, nodes, ranges):
    pairs = zip(nodes, ranges, strict=True)
    return all(footprint.memory_bytes(one) <= node.usable_bytes for node, one in pairs)


@settings(max_examples=100)
@given(
    rooms=st.lists(st.integers(0, 120), min_size=3, max_size=3),
    replicas=st.integers(2, 4),
    held=st.lists(st.frozensets(st.integers(-1, LAYERS)), min_size=3, max_size=3),
)
def test_no_disk_is_asked_for_more_than_it_has(rooms, replicas, held):
    room = dict(zip("abc", rooms, strict=True))
    there = dict(zip("abc", held, strict=True))
    copies = placed(ALIKE, NODES, PLAN, replicas, room, there)
    on_disk(PLAN, copies, LAYERS)
    for one in copies:
        new = [layer for layer in one.layers if layer not in there[one.node_id]]
        assert sum(size_of(ALIKE, layer) for layer in new) <= room[one.node_id]
    kept = [layer for one in copies for layer in one.layers]
    assert max(map(kept.count, kept), default=0) < replicas
