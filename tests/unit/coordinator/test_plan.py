"""The planner against brute force: every layer once, nothing empty, over or slower."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import STEP_COST_S
from pi_cluster.coordinator.planning.costs import LayerCost, ModelFootprint
from pi_cluster.coordinator.planning.plan import NodeCapacity, Plan
from pi_cluster.coordinator.planning.throughput_plan import plan_layers
from tests.support.capacities import alike_layers, all_ranges, capacity, layers_that_differ

GIB = 2**30

FootprintStrategy = st.SearchStrategy[ModelFootprint]


def footprints_of(layers: st.SearchStrategy[tuple[LayerCost, ...]]) -> FootprintStrategy:
    return st.builds(
        ModelFootprint,
        layers=layers,
        embedding_bytes=st.integers(0, 40),
        head_bytes=st.integers(0, 40),
        step_bytes=st.integers(0, 5),
        head_macs=st.just(1),
        row_bytes=st.just(1),
    )


footprints_of_alike_layers = footprints_of(alike_layers(most_layers=9, most_macs=1))
footprints = footprints_of_alike_layers | footprints_of(layers_that_differ(9, most_macs=1))


@st.composite
def clusters(draw: st.DrawFn, max_size: int = 4) -> list[NodeCapacity]:
    figures = st.tuples(st.integers(20, 500), st.sampled_from([1.0, 1.5, 2.0, 5.0, 40.0]))
    drawn = draw(st.lists(figures, min_size=1, max_size=max_size))
    return [capacity(f"id-{i}", *pair) for i, pair in enumerate(drawn)]


LAYER = LayerCost(weight_bytes=400 << 20, cache_bytes=32 << 20, macs=1)


def make_footprint(n_layers: int = 32, head_bytes: int = 500 << 20) -> ModelFootprint:
    """A model whose layers are alike."""
    return footprint_of((LAYER,) * n_layers, head_bytes)


def footprint_of(layers: tuple[LayerCost, ...], head_bytes: int = 500 << 20) -> ModelFootprint:
    return ModelFootprint(
        layers,
        embedding_bytes=500 << 20,
        head_bytes=head_bytes,
        step_bytes=8 << 20,
        head_macs=1,
        row_bytes=1,
    )


def make_nodes(count: int, free: int = 64 * GIB, read_bytes_ps: float = 1e10) -> list[NodeCapacity]:
    return [capacity(f"id-{i}", free, read_bytes_ps) for i in range(count)]


def counts_of(plan: Plan) -> list[int]:
    return [len(stage.layers) for stage in plan.stages]


def weight_bytes(footprint: ModelFootprint, layers: LayerRange) -> int:
    size = sum(footprint.layers[i].weight_bytes for i in layers)
    size += footprint.embedding_bytes if 0 in layers else 0
    return size + (footprint.head_bytes if footprint.n_layers - 1 in layers else 0)


def memory_bytes(footprint: ModelFootprint, layers: LayerRange) -> int:
    caches = sum(footprint.layers[i].cache_bytes for i in layers)
    return weight_bytes(footprint, layers) + caches + footprint.step_bytes


def stage_time(footprint: ModelFootprint, node: NodeCapacity, layers: LayerRange) -> float:
    """Bytes read for a token; of the embedding it is one row."""
    read = weight_bytes(footprint, layers) - (footprint.embedding_bytes if 0 in layers else 0)
    return STEP_COST_S + read / node.speed.read_bytes_ps


def times_of(footprint: ModelFootprint, nodes: list[NodeCapacity], plan: Plan) -> list[float]:
    by_id = {node.node_id: node for node in nodes}
    return [stage_time(footprint, by_id[stage.node_id], stage.layers) for stage in plan.stages]


def slowest_of(footprint: ModelFootprint, nodes: list[NodeCapacity], plan: Plan) -> float:
    return max(times_of(footprint, nodes, plan))


def brute_force(
    footprint: ModelFootprint, orders: list[tuple[NodeCapacity, ...]]
) -> list[float] | None:
    """Of all ways that fit over the given rows of nodes, the times of the one whose slowest stage
    is fastest, then its next slowest and so on; None where nothing fits.
    """
    ways = [
        sorted((stage_time(footprint, *pair) for pair in pairs), reverse=True)
        for order in orders
        for ranges in all_ranges(footprint.n_layers, len(order))
        for pairs in [list(zip(order, ranges, strict=True))]
        if all(memory_bytes(footprint, layers) <= node.usable_bytes for node, layers in pairs)
    ]
    return min(ways, default=None)


def every_order(nodes: list[NodeCapacity]) -> list[tuple[NodeCapacity, ...]]:
    return [order for n in range(1, len(nodes) + 1) for order in permutations(nodes, n)]


def planned_or_none(footprint: ModelFootprint, nodes: list[NodeCapacity]) -> Plan | None:
    try:
        return plan_layers(footprint, nodes)
    except PlanError:
        return None


@settings(max_examples=300)
@given(footprint=footprints, nodes=clusters(max_size=12))
def test_a_plan_holds_every_layer_once_in_order_on_nodes_that_have_room(footprint, nodes):
    plan = planned_or_none(footprint, nodes)
    assume(plan is not None)
    assert [layer for stage in plan.stages for layer in stage.layers] == list(
        range(footprint.n_layers)
    )
    used = [stage.node_id for stage in plan.stages]
    assert sorted([*used, *plan.unused]) == sorted(node.node_id for node in nodes)
    usable = {node.node_id: node.usable_bytes for node in nodes}
    for stage in plan.stages:
        assert stage.weight_bytes == weight_bytes(footprint, stage.layers)
        assert stage.memory_bytes == memory_bytes(footprint, stage.layers)
        assert stage.memory_bytes <= usable[stage.node_id]


@settings(max_examples=150)
@given(footprint=footprints, nodes=clusters())
def test_a_plan_is_found_whenever_there_is_one_and_is_within_a_tenth_of_the_best(footprint, nodes):
    best = brute_force(footprint, every_order(nodes))
    plan = planned_or_none(footprint, nodes)
    assert (plan is None) == (best is None)
    if plan is not None and best is not None:
        # Another order must be clearly faster, by a tenth, to be worth it.
        assert slowest_of(footprint, nodes, plan) * 0.9 <= best[0] * (1 + 1e-12)


@settings(max_examples=150)
@given(footprint=footprints, nodes=clusters())
def test_no_other_ranges_on_the_same_row_of_nodes_make_stages_faster_from_the_slowest_on(
    footprint, nodes
):
    plan = planned_or_none(footprint, nodes)
    assume(plan is not None)
    by_id = {node.node_id: node for node in nodes}
    row = tuple(by_id[stage.node_id] for stage in plan.stages)
    times = sorted(times_of(footprint, nodes, plan), reverse=True)
    assert times == pytest.approx(brute_force(footprint, [row]))


@settings(max_examples=150)
@given(footprint=footprints_of_alike_layers, nodes=clusters())
def test_of_alike_layers_no_other_shares_in_the_same_order_make_the_slowest_stage_faster(
    footprint, nodes
):
    plan = planned_or_none(footprint, nodes)
    assume(plan is not None)
    by_id = {node.node_id: node for node in nodes}
    used = [by_id[stage.node_id] for stage in plan.stages]
    middle = used[1:-1]
    rows = [tuple(used)]
    if len(used) > 1:
        spares = [by_id[node_id] for node_id in plan.unused]
        rows = [
            (used[0], *chosen, used[-1])
            for n in range(len(middle) + len(spares) + 1)
            for chosen in permutations([*middle, *spares], n)
        ]
    best = brute_force(footprint, rows)
    assert best is not None
    assert slowest_of(footprint, nodes, plan) == pytest.approx(best[0])


@pytest.mark.parametrize("n_layers", [32, 33, 40])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 31])
def test_equal_nodes_share_equally_but_for_the_heads_charge(n_layers, count):
    footprint = make_footprint(n_layers, head_bytes=0)
    counts = counts_of(plan_layers(footprint, make_nodes(count)))
    assert len(counts) == count
    assert max(counts) - min(counts) <= 1

    # A head as large as two layers takes the place of two layers at the most, or of all but one.
    with_head = make_footprint(n_layers, head_bytes=2 * LAYER.weight_bytes)
    counts = counts_of(plan_layers(with_head, make_nodes(count)))
    assert len(counts) == count
    charged = [*counts[:-1], counts[-1] + 2]
    assert max(charged) - min(charged) <= 1 or counts[-1] == 1


def test_thirty_two_nodes_take_one_of_thirty_two_layers_each():
    plan = plan_layers(make_footprint(32), make_nodes(32))
    assert [str(stage.layers) for stage in plan.stages] == [f"{i}:{i + 1}" for i in range(32)]
    assert [stage.node_id for stage in plan.stages] == [f"id-{i}" for i in range(32)]
    assert plan.unused == ()


@pytest.mark.parametrize("n_layers", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [6, 20])
def test_of_more_nodes_than_layers_some_are_left_out_and_no_stage_is_empty(n_layers, count):
    plan = plan_layers(make_footprint(n_layers, head_bytes=0), make_nodes(count))
    assert counts_of(plan) == [1] * n_layers
    assert len(plan.unused) == count - n_layers


def test_nodes_keep_the_order_they_were_given():
    plan = plan_layers(make_footprint(), make_nodes(5))
    assert [stage.node_id for stage in plan.stages] == ["id-0", "id-1", "id-2", "id-3", "id-4"]


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_node_so_slow_that_it_would_hold_up_the_others_is_left_out(where):
    nodes = make_nodes(3)
    nodes[where] = capacity("slow", 64 * GIB, 1e8)
    plan = plan_layers(make_footprint(), nodes)
    assert plan.unused == ("slow",)
    assert len(plan.stages) == 2


def test_a_node_twice_as_fast_gets_twice_the_layers():
    nodes = [*make_nodes(2), capacity("fast", 64 * GIB, 2e10)]
    plan = plan_layers(make_footprint(32, head_bytes=0), nodes)
    assert counts_of(plan) == [8, 8, 16]


def test_a_node_too_small_for_its_fair_share_gives_layers_to_the_others():
    nodes = make_nodes(3)
    nodes[1] = capacity("small", GIB, 1e10)
    plan = plan_layers(make_footprint(32), nodes)
    # 1 GiB less a tenth is 921 MiB, which two layers of 400 + 32 MiB and a step fit into.
    assert counts_of(plan)[1] == 2


def test_a_node_too_small_for_the_head_is_moved_from_the_end():
    nodes = make_nodes(3)
    nodes[2] = capacity("small", GIB, 1e10)
    plan = plan_layers(make_footprint(32, head_bytes=GIB), nodes)
    assert plan.stages[-1].node_id != "small"
    assert "small" in [stage.node_id for stage in plan.stages]


def test_a_model_that_does_not_fit_is_refused_with_every_node_and_its_figures():
    nodes = [
        capacity("kitchen", 2 * GIB, 1e10),
        capacity("attic", 4 * GIB, 1e10),
    ]
    with pytest.raises(PlanError) as refusal:
        plan_layers(make_footprint(32), nodes)
    text = str(refusal.value)
    assert "kitchen: 1.80 GiB of 2.00 GiB free" in text
    assert "attic: 3.60 GiB of 4.00 GiB free" in text
    assert "12.50 GiB for 32 layers" in text
    assert "0.49 GiB for the embedding" in text
    assert "0.49 GiB for the head" in text
    assert "1.00 GiB for caches" in text
    assert "0.02 GiB for steps" in text
    assert "5.40 GiB are usable" in text


def test_a_byte_decides_whether_a_model_fits():
    layers = (LayerCost(weight_bytes=10, cache_bytes=2, macs=0),) * 3
    footprint = ModelFootprint(layers, 4, 5, step_bytes=1, head_macs=0, row_bytes=0)
    needed = 3 * 10 + 4 + 5 + 3 * 2 + 1
    fitting = next(free for free in range(100) if capacity("a", free).usable_bytes >= needed)
    assert counts_of(plan_layers(footprint, [capacity("a", fitting)])) == [3]
    with pytest.raises(PlanError):
        plan_layers(footprint, [capacity("a", fitting - 1)])


def small_model(*weight_bytes: int) -> ModelFootprint:
    """Layers of these sizes, without caches, and next to nothing beside them."""
    layers = tuple(LayerCost(size, cache_bytes=0, macs=1) for size in weight_bytes)
    return ModelFootprint(layers, 0, 0, step_bytes=0, head_macs=0, row_bytes=0)


def room_for(node_id: str, size: int, read_bytes_ps: float = 1e6) -> NodeCapacity:
    free = next(free for free in range(2 * size) if capacity("", free).usable_bytes >= size)
    return capacity(node_id, free, read_bytes_ps)


def placed(plan: Plan) -> dict[str, str]:
    return {stage.node_id: str(stage.layers) for stage in plan.stages}


def test_layers_are_counted_as_large_as_each_is_not_as_the_largest():
    # As in a file of which half of the layers has some matrices in twice the bits.
    model = small_model(*[60, 40] * 4)
    # Were all of them of 60 bytes, 480 would have to fit, and no four of them into 200.
    plan = plan_layers(model, [room_for("a", 200), room_for("b", 200)])
    assert placed(plan) == {"a": "0:4", "b": "4:8"}
    assert [stage.memory_bytes for stage in plan.stages] == [200, 200]
    with pytest.raises(PlanError, match="does not fit"):
        plan_layers(model, [room_for("a", 200), room_for("b", 199)])


def test_stages_are_balanced_by_the_bytes_of_their_layers_not_by_their_number():
    model = small_model(90_000, *[10_000] * 12, 90_000)
    plan = plan_layers(model, [room_for(name, 400_000) for name in "abc"])
    assert placed(plan) == {"a": "0:2", "b": "2:12", "c": "12:14"}


def test_caches_count_where_they_are():
    # One layer in four sees every position, as where windows alternate.
    seeing = [LayerCost(10, cache_bytes=90 if i % 4 == 0 else 10, macs=1) for i in range(8)]
    model = ModelFootprint(tuple(seeing), 0, 0, step_bytes=0, head_macs=0, row_bytes=0)
    plan = plan_layers(model, [room_for("a", 160), room_for("b", 160)])
    assert [stage.memory_bytes for stage in plan.stages] == [160, 160]


def test_nodes_in_the_middle_change_places_where_only_one_of_them_has_room_for_what_is_there():
    model = small_model(50, 100, 30, 50)
    nodes = [room_for("first", 50), room_for("small", 30), room_for("large", 100)]
    plan = plan_layers(model, [*nodes, room_for("last", 50)])
    assert placed(plan) == {"first": "0:1", "large": "1:2", "small": "2:3", "last": "3:4"}


def test_of_many_nodes_those_at_the_ends_change_places_too_where_they_have_no_room():
    model = small_model(*[10] * 12)
    model = replace(model, embedding_bytes=20, head_bytes=30)
    nodes = [room_for(f"id-{i}", 10) for i in range(12)]
    nodes[5], nodes[7] = room_for("embeds", 30), room_for("last", 40)
    order = [stage.node_id for stage in plan_layers(model, nodes).stages]
    assert order == ["embeds", *(node.name for node in nodes if node.name[:3] == "id-"), "last"]


def test_a_refusal_tells_what_layers_that_differ_need_together():
    layers = tuple(LayerCost(size * GIB, cache_bytes=GIB // 2, macs=1) for size in (1, 3, 2))
    with pytest.raises(PlanError, match=r"6\.00 GiB for 3 layers.* 1\.50 GiB for caches"):
        plan_layers(footprint_of(layers), [capacity("a", 4 * GIB), capacity("b", 4 * GIB)])


def test_workers_on_one_machine_count_as_much_as_the_machine_has():
    pair = [capacity(f"shared-{i}", machine_id="one", machine_read_bytes_ps=1e10) for i in (1, 2)]
    plan = plan_layers(make_footprint(32, head_bytes=0), [*pair, capacity("own")])
    assert counts_of(plan) == [8, 8, 16]


def test_no_nodes_are_refused():
    with pytest.raises(PlanError, match="no nodes"):
        plan_layers(make_footprint(), [])


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (3, 3), (4, 2), (-1, 2), (-3, -1)])
def test_a_layer_range_that_is_empty_or_negative_cannot_be_made(start, stop):
    with pytest.raises(ValueError, match=f"{start}:{stop} is not a layer range"):
        LayerRange(start, stop)


def test_a_layer_range_prints_counts_and_iterates_half_open():
    layers = LayerRange(3, 7)
    assert str(layers) == "3:7"
    assert len(layers) == 4
    assert list(layers) == [3, 4, 5, 6]
    assert layers == LayerRange(3, 7)
