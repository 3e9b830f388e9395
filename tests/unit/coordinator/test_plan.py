"""The planner against brute force: every layer once, nothing empty, over or slower."""

from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import STEP_COST_S
from pi_cluster.coordinator.planning.plan import ModelFootprint, NodeCapacity, Plan, plan_layers
from tests.support.capacities import capacity

GIB = 2**30

footprints = st.builds(
    ModelFootprint,
    n_layers=st.integers(1, 9),
    layer_bytes=st.integers(1, 30),
    embedding_bytes=st.integers(0, 40),
    head_bytes=st.integers(0, 40),
    cache_bytes_per_layer=st.integers(0, 10),
    step_bytes=st.integers(0, 5),
    layer_macs=st.just(1),
    head_macs=st.just(1),
    row_bytes=st.just(1),
)


@st.composite
def clusters(draw: st.DrawFn, max_size: int = 4) -> list[NodeCapacity]:
    figures = st.tuples(st.integers(20, 500), st.sampled_from([1.0, 1.5, 2.0, 5.0, 40.0]))
    drawn = draw(st.lists(figures, min_size=1, max_size=max_size))
    return [capacity(f"id-{i}", *pair) for i, pair in enumerate(drawn)]


def make_footprint(n_layers: int = 32, **changes: int) -> ModelFootprint:
    values = {
        "layer_bytes": 400 << 20,
        "embedding_bytes": 500 << 20,
        "head_bytes": 500 << 20,
        "cache_bytes_per_layer": 32 << 20,
        "step_bytes": 8 << 20,
        "layer_macs": 1,
        "head_macs": 1,
        "row_bytes": 1,
    }
    return ModelFootprint(n_layers, **(values | changes))


def make_nodes(count: int, free: int = 64 * GIB, read_bytes_ps: float = 1e10) -> list[NodeCapacity]:
    return [capacity(f"id-{i}", free, read_bytes_ps) for i in range(count)]


def counts_of(plan: Plan) -> list[int]:
    return [len(stage.layers) for stage in plan.stages]


def weight_bytes(footprint: ModelFootprint, layers: int, is_first: bool, is_last: bool) -> int:
    ends = is_first * footprint.embedding_bytes + is_last * footprint.head_bytes
    return layers * footprint.layer_bytes + ends


def stage_time(footprint: ModelFootprint, node: NodeCapacity, layers: int, is_last: bool) -> float:
    """Bytes read for a token; of the embedding it is one row."""
    return STEP_COST_S + (
        weight_bytes(footprint, layers, False, is_last) / node.speed.read_bytes_ps
    )


def slowest_of(footprint: ModelFootprint, nodes: list[NodeCapacity], plan: Plan) -> float:
    by_id = {node.node_id: node for node in nodes}
    last = plan.stages[-1]
    return max(
        stage_time(footprint, by_id[stage.node_id], len(stage.layers), stage is last)
        for stage in plan.stages
    )


def all_shares(total: int, nodes: int) -> list[tuple[int, ...]]:
    """Every way to give ``nodes`` in a row at least one layer each."""
    if nodes == 1:
        return [(total,)] if total else []
    return [
        (first, *rest) for first in range(1, total) for rest in all_shares(total - first, nodes - 1)
    ]


def brute_force(footprint: ModelFootprint, orders: list[tuple[NodeCapacity, ...]]) -> float | None:
    """The least slowest stage over the given rows of nodes, or None where nothing fits."""
    best: float | None = None
    for order in orders:
        end = len(order) - 1
        for share in all_shares(footprint.n_layers, len(order)):
            fits = all(
                weight_bytes(footprint, layers, i == 0, i == end)
                + layers * footprint.cache_bytes_per_layer
                + footprint.step_bytes
                <= node.usable_bytes
                for i, (node, layers) in enumerate(zip(order, share, strict=True))
            )
            slowest = max(
                stage_time(footprint, node, layers, i == end)
                for i, (node, layers) in enumerate(zip(order, share, strict=True))
            )
            if fits and (best is None or slowest < best):
                best = slowest
    return best


def every_order(nodes: list[NodeCapacity]) -> list[tuple[NodeCapacity, ...]]:
    return [order for n in range(1, len(nodes) + 1) for order in permutations(nodes, n)]


def planned_or_none(footprint: ModelFootprint, nodes: list[NodeCapacity]) -> Plan | None:
    try:
        return plan_layers(footprint, nodes)
    except PlanError:
        return None


@settings(max_examples=300, deadline=None, derandomize=True)
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
        layers = len(stage.layers)
        assert layers >= 1
        weights = weight_bytes(footprint, layers, stage is plan.stages[0], stage is plan.stages[-1])
        assert stage.weight_bytes == weights
        caches = layers * footprint.cache_bytes_per_layer
        assert stage.memory_bytes == weights + caches + footprint.step_bytes
        assert stage.memory_bytes <= usable[stage.node_id]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(footprint=footprints, nodes=clusters())
def test_a_plan_is_found_whenever_there_is_one_and_is_within_a_tenth_of_the_best(footprint, nodes):
    best = brute_force(footprint, every_order(nodes))
    plan = planned_or_none(footprint, nodes)
    assert (plan is None) == (best is None)
    if plan is not None and best is not None:
        # Another order must be clearly faster, by a tenth, to be worth it.
        assert slowest_of(footprint, nodes, plan) * 0.9 <= best * (1 + 1e-12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(footprint=footprints, nodes=clusters())
def test_no_other_shares_in_the_same_order_make_the_slowest_stage_faster(footprint, nodes):
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
    assert slowest_of(footprint, nodes, plan) == pytest.approx(brute_force(footprint, rows))


@pytest.mark.parametrize("n_layers", [32, 33, 40])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 31])
def test_equal_nodes_share_equally_but_for_the_heads_charge(n_layers, count):
    footprint = make_footprint(n_layers, head_bytes=0)
    counts = counts_of(plan_layers(footprint, make_nodes(count)))
    assert len(counts) == count
    assert max(counts) - min(counts) <= 1

    # A head as large as two layers takes the place of two layers at the most, or of all but one.
    with_head = make_footprint(n_layers, head_bytes=2 * footprint.layer_bytes)
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


NO_MACS = {"layer_macs": 0, "head_macs": 0, "row_bytes": 0}


def test_a_byte_decides_whether_a_model_fits():
    footprint = ModelFootprint(3, 10, 4, 5, cache_bytes_per_layer=2, step_bytes=1, **NO_MACS)
    needed = 3 * 10 + 4 + 5 + 3 * 2 + 1
    fitting = next(free for free in range(100) if capacity("a", free).usable_bytes >= needed)
    assert counts_of(plan_layers(footprint, [capacity("a", fitting)])) == [3]
    with pytest.raises(PlanError):
        plan_layers(footprint, [capacity("a", fitting - 1)])


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
