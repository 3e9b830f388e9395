"""Where a draft model guesses and what that costs, against figures made by hand."""

import pytest

from pi_cluster.cluster.errors import PlanError
from pi_cluster.cluster.speed import STEP_COST_S, Speed
from pi_cluster.coordinator.planning.costs import LayerCost, ModelFootprint
from pi_cluster.coordinator.planning.draft_placing import (
    beside,
    check_memory,
    expect,
    place_draft,
)
from pi_cluster.coordinator.planning.prediction import Prediction
from pi_cluster.coordinator.planning.throughput_plan import plan_layers
from tests.support.capacities import GIB, capacity

# Each layer takes 10 ms to read at 1 GB/s.
LAYER = LayerCost(weight_bytes=10_000_000, cache_bytes=1_000, macs=1)
DRAFT = ModelFootprint((LAYER,) * 2, 4_000, 10_000_000, 500, 1, 16)
MODEL = ModelFootprint((LAYER,) * 12, 0, 0, 0, 1, 16)
SPEED = Speed(1e9, 1e12)


def predicted(stage_s, prefill_tps=1e9):
    return Prediction(1 / sum(stage_s), 0.0, prefill_tps, tuple(stage_s), (0.0,))


def test_a_guess_reads_all_of_the_draft_model_but_its_embedding():
    draft = place_draft("here", DRAFT, SPEED)
    assert draft.token_s == pytest.approx(0.030 + STEP_COST_S)
    assert draft.weight_bytes == 30_000_000
    assert draft.memory_bytes == 30_000_000 + 4_000 + 2_000 + 500


def test_a_guess_waits_for_the_workers_of_its_machine():
    draft = place_draft("here", DRAFT, SPEED, sharing=1)
    assert draft.token_s == pytest.approx(2 * (0.030 + STEP_COST_S))


def test_a_machine_without_the_memory_is_told_with_figures():
    draft = place_draft("here", DRAFT, SPEED)
    check_memory(draft, 34_000_000)
    with pytest.raises(PlanError, match=r"takes 0\.03 GiB on this machine, and 0\.03 GiB are"):
        check_memory(draft, 33_000_000)


def test_nodes_of_other_machines_offer_what_they_did():
    nodes = [capacity("a"), capacity("b")]
    assert beside(place_draft("here", DRAFT, SPEED), MODEL, nodes) == nodes


def test_the_machine_that_drafts_offers_less_memory_and_less_speed():
    draft = place_draft("here", DRAFT, SPEED)
    a, b = beside(draft, MODEL, [capacity("a", GIB, 1e9, machine_id="here"), capacity("b", GIB)])
    assert a.free_memory_bytes == GIB - draft.memory_bytes
    # It would read 60 MB of layers for a token, and reads 30 MB of the draft model beside them.
    assert a.speed.read_bytes_ps == pytest.approx(1e9 * 60 / 90)
    assert a.machine_speed.read_bytes_ps == pytest.approx(1e9 * 60 / 90)
    assert b == capacity("b", GIB)


def test_layers_are_dealt_out_accordingly():
    nodes = [capacity(name, read_bytes_ps=1e9, machine_id=name) for name in ("here", "b")]
    plan = plan_layers(MODEL, beside(place_draft("here", DRAFT, SPEED), MODEL, nodes))
    assert [len(stage.layers) for stage in plan.stages] == [5, 7]


def test_a_machine_without_room_for_both_gets_no_layers():
    nodes = [capacity("a", 20_000_000, machine_id="here"), capacity("b")]
    plan = plan_layers(MODEL, beside(place_draft("here", DRAFT, SPEED), MODEL, nodes))
    assert [stage.node_id for stage in plan.stages] == ["b"]


def test_a_rate_is_that_of_the_guesses_and_of_what_wrong_ones_cost():
    # Four stages of 89 ms and three of four guesses right.
    pis = predicted([0.089] * 4)
    assert expect(pis, 0.060, 0.75).decode_tps == pytest.approx(6.9, abs=0.05)
    assert expect(pis, 0.015, 0.75).decode_tps == pytest.approx(9.0, abs=0.05)
    assert expect(pis, 0.060, 0.75).without_tps == pytest.approx(2.81, abs=0.01)


def test_rows_that_take_longer_than_guesses_hold_them_up():
    pis = predicted([0.089] * 4, prefill_tps=10.0)
    assert expect(pis, 0.015, 0.75) == expect(pis, 0.100, 0.75)


def test_a_draft_that_is_too_slow_brings_nothing_and_costs_nothing():
    slow = expect(predicted([0.010, 0.010]), 0.030)
    assert not slow.pays
    assert slow.decode_tps == slow.without_tps
    assert expect(predicted([0.010, 0.010]), 0.001).pays
