"""The plan for one user against brute force and figures made by hand."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.speed import Link
from pi_cluster.coordinator.planning.costs import LayerCost, ModelFootprint
from pi_cluster.coordinator.planning.latency_plan import plan_for_one_user, token_time
from pi_cluster.coordinator.planning.making import make_plan
from pi_cluster.coordinator.planning.objective import Objective
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan
from tests.support.capacities import GIB, alike_layers, all_ranges, capacity, layers_that_differ

MIB = 1 << 20
MODEL = ModelFootprint(
    layers=(LayerCost(weight_bytes=100 * MIB, cache_bytes=MIB, macs=1),) * 32,
    embedding_bytes=50 * MIB,
    head_bytes=50 * MIB,
    step_bytes=MIB,
    head_macs=1,
    row_bytes=16_384,
)
SLOW, FAST = 2e9, 8e9


def layers_of(plan: Plan) -> dict[str, int]:
    return {stage.node_id: len(stage.layers) for stage in plan.stages}


def time_of(footprint: ModelFootprint, nodes: list[NodeCapacity], plan: Plan) -> float:
    by_id = {node.node_id: node for node in nodes}
    return token_time(footprint, [(by_id[stage.node_id], stage.layers) for stage in plan.stages])


footprints = st.builds(
    ModelFootprint,
    layers=alike_layers(7, most_macs=20) | layers_that_differ(7, most_macs=20),
    embedding_bytes=st.integers(0, 40),
    head_bytes=st.integers(0, 40),
    step_bytes=st.integers(0, 5),
    head_macs=st.integers(1, 20),
    row_bytes=st.integers(1, 10),
)


@st.composite
def clusters(draw: st.DrawFn) -> list[NodeCapacity]:
    speeds = st.sampled_from([1.0, 1.5, 2.0, 5.0])
    links = st.builds(Link, st.sampled_from([0.1, 1.0, 30.0]), st.sampled_from([1.0, 10.0]))
    figures = st.tuples(st.integers(20, 300), speeds, speeds, links)
    drawn = draw(st.lists(figures, min_size=1, max_size=4))
    return [capacity(f"id-{i}", *three, reach=link) for i, (*three, link) in enumerate(drawn)]


@settings(max_examples=200)
@given(footprint=footprints, nodes=clusters())
def test_no_other_pipeline_brings_a_token_clearly_sooner(footprint, nodes):
    times = [
        token_time(footprint, placed)
        for n in range(1, len(nodes) + 1)
        for order in permutations(nodes, n)
        for ranges in all_ranges(footprint.n_layers, n)
        for placed in [list(zip(order, ranges, strict=True))]
        if all(footprint.memory_bytes(layers) <= node.usable_bytes for node, layers in placed)
    ]
    if not times:
        with pytest.raises(PlanError):
            plan_for_one_user(footprint, nodes)
        return
    plan = plan_for_one_user(footprint, nodes)
    assert time_of(footprint, nodes, plan) <= min(times) * 1.0201


@settings(max_examples=200)
@given(footprint=footprints, nodes=clusters())
def test_a_plan_holds_every_layer_once_on_nodes_that_have_room(footprint, nodes):
    try:
        plan = plan_for_one_user(footprint, nodes)
    except PlanError:
        assume(False)
    assert [i for stage in plan.stages for i in stage.layers] == list(range(footprint.n_layers))
    used = [stage.node_id for stage in plan.stages]
    assert sorted([*used, *plan.unused]) == sorted(node.node_id for node in nodes)
    usable = {node.node_id: node.usable_bytes for node in nodes}
    assert all(stage.memory_bytes <= usable[stage.node_id] for stage in plan.stages)


def test_one_fast_node_with_room_serves_alone_for_one_user_and_shares_for_throughput():
    nodes = [capacity("pi4", 8 * GIB, SLOW), capacity("pi5", 8 * GIB, FAST)]
    assert layers_of(make_plan(MODEL, nodes, Objective.LATENCY)) == {"pi5": 32}
    # 4 : 1 in speed, and the head is half a layer on the last node.
    assert layers_of(make_plan(MODEL, nodes, Objective.THROUGHPUT)) == {"pi4": 6, "pi5": 26}


def test_of_equal_nodes_with_room_the_first_serves_alone_whatever_its_link_is_by_a_hair():
    nodes = [
        capacity(f"id-{i}", reach=Link(delay_s, 1e9)) for i, delay_s in enumerate([2e-4, 1e-4])
    ]
    assert layers_of(plan_for_one_user(MODEL, nodes)) == {"id-0": 32}


def test_a_slow_node_takes_only_what_the_fast_ones_have_no_room_for():
    nodes = [
        capacity("pi5-a", 2 * GIB, FAST),
        capacity("pi5-b", 2 * GIB, FAST),
        capacity("pi4", 8 * GIB, SLOW),
    ]
    plan = plan_for_one_user(MODEL, nodes)
    # 2 GiB less a tenth is 1843 MiB: (1843 - 1 - 50) / 101 = 17.7 layers beside embedding or head.
    assert "pi4" in plan.unused and len(plan.stages) == 2
    fuller = [capacity("pi5-a", GIB, FAST), capacity("pi5-b", GIB, FAST), nodes[2]]
    # (921 - 1 - 50) / 101 = 8.6 layers beside the head, (921 - 1) / 101 = 9.1 without it: the slow
    # node, which has the room, takes the embedding, and a fast one reads the head sooner.
    plan = plan_for_one_user(MODEL, fuller)
    assert layers_of(plan) == {"pi4": 15, "pi5-a": 9, "pi5-b": 8}
    assert [stage.node_id for stage in plan.stages] == ["pi4", "pi5-a", "pi5-b"]


def test_equal_nodes_that_are_all_needed_keep_their_order_and_share_evenly():
    nodes = [capacity(f"id-{i}", GIB + GIB // 4, SLOW) for i in range(4)]
    plan = plan_for_one_user(MODEL, nodes)
    assert layers_of(plan) == {"id-0": 8, "id-1": 8, "id-2": 8, "id-3": 8}
    assert [stage.node_id for stage in plan.stages] == ["id-0", "id-1", "id-2", "id-3"]


def test_a_fast_node_behind_a_bad_link_is_not_worth_it():
    # Alone the slow node takes 32 * 0.0524 + 0.0262 = 1.70 s; half of it elsewhere saves 0.64 s.
    far = capacity("far", 2 * GIB, FAST, reach=Link(0.7, 1e6))
    near = capacity("near", 8 * GIB, SLOW)
    assert layers_of(plan_for_one_user(MODEL, [near, far])) == {"near": 32}
    closer = capacity("far", 2 * GIB, FAST, reach=Link(0.005, 1e6))
    assert set(layers_of(plan_for_one_user(MODEL, [near, closer]))) == {"near", "far"}


def test_what_a_node_between_others_can_take_depends_on_where_the_first_one_ends():
    layers = tuple(LayerCost(size * MIB, cache_bytes=0, macs=1) for size in (300, 650, 300, 300))
    model = ModelFootprint(layers, 0, 0, step_bytes=0, head_macs=0, row_bytes=1)
    # 700 MiB less a tenth are room for two of the small layers: the wide one fits the slow node.
    fast = [capacity(name, 700 * MIB, FAST) for name in ("pi5-a", "pi5-b")]
    plan = plan_for_one_user(model, [*fast, capacity("pi4", GIB, SLOW)])
    placed = {stage.node_id: str(stage.layers) for stage in plan.stages}
    assert placed == {"pi5-a": "0:1", "pi4": "1:2", "pi5-b": "2:4"}


def test_nodes_between_others_change_places_where_that_saves_time():
    layers = tuple(LayerCost(size * MIB, cache_bytes=0, macs=1) for size in (200, 200, 900, 500))
    model = ModelFootprint(layers, 700 * MIB, 0, step_bytes=0, head_macs=0, row_bytes=1)
    nodes = [
        capacity("slow-a", GIB, SLOW),
        capacity("fast", GIB, FAST),
        capacity("slow-b", 900 * MIB, SLOW),
        capacity("slow-c", 900 * MIB, SLOW),
    ]
    plan = plan_for_one_user(model, nodes)
    # Only the first has room for the embedding, and no node for more than a layer beside it. The
    # fast one is worth most where the widest layer is.
    assert [s.node_id for s in plan.stages] == ["slow-a", "slow-b", "fast", "slow-c"]


def test_of_many_nodes_the_one_with_room_for_it_takes_the_embedding():
    model = replace(MODEL, layers=MODEL.layers * 2, embedding_bytes=100 * MIB)
    # 460 MiB have room for four layers, and for three beside the embedding.
    fast = [capacity(f"id-{i}", GIB // 2, FAST) for i in range(10)]
    plan = plan_for_one_user(model, [*fast[:5], capacity("slow", 4 * GIB, SLOW), *fast[5:]])
    assert layers_of(plan) == {"slow": 24} | {node.name: 4 for node in fast}
    assert [stage.node_id for stage in plan.stages] == ["slow", *(node.name for node in fast)]


def test_what_fits_nowhere_is_refused_with_the_figures():
    with pytest.raises(PlanError, match=r"tiny: 0\.90 GiB of 1\.00 GiB free"):
        plan_for_one_user(MODEL, [capacity("tiny", GIB)])
    with pytest.raises(PlanError, match="no nodes"):
        plan_for_one_user(MODEL, [])
