"""Predictions against figures made by hand."""

from dataclasses import replace

import pytest

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import STEP_COST_S, Link, Speed
from pi_cluster.coordinator.planning.costs import LayerCost, ModelFootprint
from pi_cluster.coordinator.planning.plan import Plan, PlannedStage
from pi_cluster.coordinator.planning.prediction import predict
from tests.support.capacities import NO_LINK, capacity

# A layer takes 10 ms to read and, for each row, 1 ms to multiply; the head takes 20 ms to read.
LAYER = LayerCost(weight_bytes=10_000_000, cache_bytes=0, macs=1_000_000)
MODEL = ModelFootprint(
    layers=(LAYER,) * 8,
    embedding_bytes=0,
    head_bytes=20_000_000,
    step_bytes=0,
    head_macs=1_000_000,
    row_bytes=16_000,
)
READ, MACS = 1e9, 1e9
STEP = 1000 * STEP_COST_S


def plan_of(**layers):
    stages, start = [], 0
    for name, count in layers.items():
        stages.append(PlannedStage(name, LayerRange(start, start + count), 0, 0))
        start += count
    return Plan(tuple(stages))


def predicted(plan, links, model=MODEL, **machine):
    nodes = {
        stage.node_id: capacity(stage.node_id, 1, READ, MACS, **machine) for stage in plan.stages
    }
    return predict(model, plan, nodes, links)


def test_one_user_waits_for_every_stage_and_every_link():
    links = [Link(0.001, 1e6), Link(0.002, 1e6), Link(0.003, 1e6)]
    one = predicted(plan_of(a=5, b=3), links)
    assert one.stage_s == pytest.approx([0.050 + STEP_COST_S, 0.050 + STEP_COST_S])
    # A message of ids or a result has 16 bytes, hidden states 16 000.
    assert one.links_s == pytest.approx([0.001016, 0.018, 0.003016])
    assert one.decode_tps == pytest.approx(1000 / (100 + 3 * STEP + 1.016 + 18 + 3.016))


def test_several_users_go_by_the_slowest_stage():
    four = predicted(plan_of(a=6, b=2), [NO_LINK] * 3)
    assert four.slowest == 0
    # Two groups of two rows: reading 60 ms covers two rows of 6 ms.
    assert four.users_tps == pytest.approx(4 * 1000 / (2 * (60 + STEP)))
    alone = predicted(plan_of(a=8), [NO_LINK] * 2)
    assert alone.users_tps == pytest.approx(4 * 1000 / (100 + 2 * STEP))


def test_a_round_of_users_is_no_shorter_than_the_way_of_one_step():
    far = predicted(plan_of(a=5, b=3), [Link(0.2, 1e9), Link(0.2, 1e9), Link(0.2, 1e9)])
    assert far.users_tps == pytest.approx(4 * 1000 / (100 + 600 + 3 * STEP), rel=1e-3)


def test_a_prompt_passes_once_and_then_follows_the_slowest_stage():
    # 64 rows take 64 ms a layer. The head is read for the last row only.
    prompt = predicted(plan_of(a=5, b=3), [NO_LINK] * 3)
    passing = 8 * 64 + 20 + 3 * STEP
    assert prompt.prefill_tps == pytest.approx(512_000 / (passing + 7 * (5 * 64 + STEP)))


def test_a_slow_link_holds_up_a_prompt():
    slow = Link(1e-12, 1_000_000)  # 64 rows of 16 000 bytes: 1024 ms
    prompt = predicted(plan_of(a=5, b=3), [NO_LINK, slow, NO_LINK])
    passing = 8 * 64 + 20 + 1024 + 3 * STEP
    assert prompt.prefill_tps == pytest.approx(512_000 / (passing + 7 * 1024))


def test_stages_on_one_machine_share_its_cores_and_memory_when_busy_at_once_only():
    plan, links = plan_of(a=5, b=3), [NO_LINK] * 3
    apart = predicted(plan, links)
    one_core = predicted(plan, links, machine_id="here")
    assert one_core.decode_tps == apart.decode_tps
    assert one_core.users_tps == pytest.approx(4 * 1000 / (2 * (100 + 2 * STEP)))
    two_cores = {"machine_id": "here", "machine_macs_ps": 2 * MACS}
    assert predicted(plan, links, **two_cores, machine_read_bytes_ps=2 * READ) == apart
    # Memory that one core exhausts makes two take turns, but only for what is read.
    one_memory = predicted(plan, links, **two_cores)
    assert one_memory.users_tps == pytest.approx(4 * 1000 / (2 * 100), rel=1e-2)
    assert one_memory.prefill_tps == apart.prefill_tps


def test_layers_that_differ_take_the_time_of_each():
    # The first two layers take 30 ms to read instead of 10, and 2 ms to multiply instead of 1.
    wide = LayerCost(weight_bytes=30_000_000, cache_bytes=0, macs=2_000_000)
    model = replace(MODEL, layers=(wide, wide, *MODEL.layers[2:]))
    one = predicted(plan_of(a=2, b=6), [NO_LINK] * 3, model, machine_id="here")
    assert one.stage_s == pytest.approx([0.060 + STEP_COST_S, 0.080 + STEP_COST_S])
    assert one.slowest == 1
    # On one core a chunk takes all of 64 * (2 * 2 + 6) ms, and then the next.
    prompt_ms = 640 + 20 + 3 * STEP + 7 * (640 + 2 * STEP)
    assert one.prefill_tps == pytest.approx(512_000 / prompt_ms)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_speeds_and_links_that_nothing_has_cannot_be_made(value):
    for make in (Speed, Link):
        with pytest.raises(ValueError, match="is "):
            make(value, 1.0)
        with pytest.raises(ValueError, match="is "):
            make(1.0, value)
