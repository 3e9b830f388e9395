"""The plan for who is left against brute force: nothing moves that need not."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.planning.costs import LayerCost, ModelFootprint
from pi_cluster.coordinator.planning.healing_plan import EMBEDDING, moved_bytes, plan_again
from pi_cluster.coordinator.planning.plan import Plan, PlannedStage, lay_out
from tests.support.capacities import all_ranges, capacity, layers_that_differ

LAYERS = 6
ALIKE = ModelFootprint((LayerCost(10, 1, 1),) * LAYERS, 4, 5, 1, 1, 1)


def before(*stages):
    return Plan(tuple(PlannedStage(name, LayerRange(*ends), 0, 0) for name, ends in stages))


def ranges(plan):
    return [(stage.node_id, (stage.layers.start, stage.layers.stop)) for stage in plan.stages]


def on_disk(start, stop):
    ends = {EMBEDDING} if start == 0 else set()
    return {*range(start, stop), *ends, *({LAYERS} if stop == LAYERS else ())}


THREE = before(("a", (0, 2)), ("b", (2, 4)), ("c", (4, 6)))
HELD = {"a": on_disk(0, 2), "b": on_disk(2, 4), "c": on_disk(4, 6)}


def test_without_copies_the_lost_layers_alone_move():
    plan = plan_again(ALIKE, [capacity("a"), capacity("c")], HELD, THREE)
    assert ranges(plan) == [("a", (0, 3)), ("c", (3, 6))]
    assert moved_bytes(ALIKE, plan, HELD) == 20


def test_where_a_neighbour_stands_by_nothing_moves():
    held = HELD | {"c": {*HELD["c"], 2, 3}}
    plan = plan_again(ALIKE, [capacity("a"), capacity("c")], held, THREE)
    assert ranges(plan) == [("a", (0, 2)), ("c", (2, 6))]
    assert moved_bytes(ALIKE, plan, held) == 0


def test_of_plans_that_move_as_much_it_is_the_one_whose_slowest_stage_is_fastest():
    quick = capacity("a", read_bytes_ps=1e12)
    plan = plan_again(ALIKE, [quick, capacity("c", read_bytes_ps=1e-3)], HELD, THREE)
    assert ranges(plan) == [("a", (0, 4)), ("c", (4, 6))]


def test_a_node_without_a_stage_stands_in_at_the_place_of_the_lost_one():
    held = HELD | {"spare": on_disk(2, 4)}
    nodes = [capacity("a"), capacity("c"), capacity("spare")]
    plan = plan_again(ALIKE, nodes, held, THREE)
    assert ranges(plan) == [("a", (0, 2)), ("spare", (2, 4)), ("c", (4, 6))]


def test_nodes_that_are_not_needed_are_left_out():
    plan = plan_again(
        ALIKE, [capacity("a"), capacity("b"), capacity("c")], {"a": on_disk(0, 6)}, THREE
    )
    assert ranges(plan) == [("a", (0, 6))] and plan.unused == ("b", "c")


def test_what_has_no_room_is_refused_with_the_figures():
    with pytest.raises(PlanError, match="the model does not fit"):
        plan_again(ALIKE, [capacity("a", 30), capacity("c", 30)], HELD, THREE)


def cheapest(footprint, nodes, held, plan_before):
    """By trying everything: bytes that move, and the slowest stage."""
    place = [stage.node_id for stage in plan_before.stages]
    costs = []
    for count in range(1, len(nodes) + 1):
        for order in permutations(nodes, count):
            kept = [place.index(node.node_id) for node in order if node.node_id in place]
            if kept != sorted(kept):
                continue
            for split in all_ranges(footprint.n_layers, count):
                pairs = list(zip(order, split, strict=True))
                if any(footprint.memory_bytes(r) > node.usable_bytes for node, r in pairs):
                    continue
                slowest = max(footprint.stage_s(n.speed, r, 1, 1) for n, r in pairs)
                costs.append(
                    (moved_bytes(footprint, lay_out(footprint, nodes, pairs), held), slowest)
                )
    return min(costs, default=None)


@settings(max_examples=150)
@given(
    layers=layers_that_differ(6, most_macs=1),
    figures=st.lists(
        st.tuples(st.integers(20, 400), st.sampled_from([1.0, 2.0, 9.0])), min_size=1, max_size=4
    ),
    data=st.data(),
)
def test_nothing_is_cheaper(layers, figures, data):
    footprint = ModelFootprint(layers, 7, 11, 2, 1, 1)
    nodes = [capacity(f"n{i}", *pair) for i, pair in enumerate(figures)]
    kinds = st.frozensets(st.integers(-1, len(layers)))
    held = {node.node_id: data.draw(kinds) for node in nodes}
    had_stages = data.draw(st.permutations([node.node_id for node in nodes]))
    # At most one of them had no stage: of more, not every order is tried.
    had_stages = had_stages[: len(nodes) - data.draw(st.integers(0, 1))]
    plan_before = before(*((name, (0, 1)) for name in had_stages))
    best = cheapest(footprint, nodes, held, plan_before)
    if best is None:
        with pytest.raises(PlanError):
            plan_again(footprint, nodes, held, plan_before)
        return
    plan = plan_again(footprint, nodes, held, plan_before)
    by_id = {node.node_id: node for node in nodes}
    slowest = max(
        footprint.stage_s(by_id[stage.node_id].speed, stage.layers, 1, 1) for stage in plan.stages
    )
    assert (moved_bytes(footprint, plan, held), slowest) == best
    stops = [stage.layers.stop for stage in plan.stages]
    assert [stage.layers.start for stage in plan.stages] == [0, *stops[:-1]]
    assert stops[-1] == len(layers)
