"""Times of a generation: what belongs to prefill, what to decode, and what to the links."""

from dataclasses import asdict

import pytest

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator import measurement as measurement_module
from pi_cluster.coordinator.measurement import Measurement
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.steps import StageTime, StepResult
from pi_cluster.coordinator.timings import Timings

STAGES = [
    StageAddress("a", "pi1", "127.0.0.1:1", LayerRange(0, 3)),
    StageAddress("b", "pi2", "127.0.0.1:2", LayerRange(3, 5)),
]


def step(number: int, *stages: tuple[float, float, float]) -> StepResult:
    """A result with (compute, idle, queued) seconds for each stage."""
    return StepResult(number, (), tuple(StageTime(*times) for times in stages))


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """A clock that shows what its only entry says."""
    now = [0.0]
    monkeypatch.setattr(measurement_module.time, "perf_counter", lambda: now[0])
    return now


def test_prefill_ends_and_decode_begins_with_the_first_token(clock):
    measured = Measurement(STAGES, requested_at=10.0)
    clock[0] = 10.5
    measured.begin_prefill(clock[0])
    for now in (12.5, 13.0, 13.5, 16.5):
        clock[0] = now
        measured.add_token()
    timings = measured.timings(prompt_tokens=20, generated_tokens=4)
    assert timings == Timings(
        load_s=0.5,
        prefill_s=2.0,
        decode_s=4.0,
        ttft_s=2.5,
        prompt_tokens=20,
        generated_tokens=4,
    )
    assert timings.prefill_tps == 10.0
    assert timings.decode_tps == 0.75  # three tokens after the first, in four seconds


def test_all_times_are_zero_before_the_first_token(clock):
    measured = Measurement(STAGES)
    measured.begin_prefill(clock[0])
    timings = measured.timings(7, 0)
    assert timings == Timings(0, 0, 0, 0, 7, 0)
    assert (timings.prefill_tps, timings.decode_tps) == (0, 0)


def test_one_token_has_no_decode_rate(clock):
    measured = Measurement(STAGES, requested_at=0.0)
    clock[0] = 1.0
    measured.add_token()
    assert measured.timings(3, 1).decode_tps == 0


def test_the_json_names_are_those_of_the_command():
    assert Timings(1, 2, 4, 3, prompt_tokens=8, generated_tokens=9).to_json() == {
        "load_s": 1,
        "prefill_s": 2,
        "decode_s": 4,
        "ttft_s": 3,
        "prefill_tps": 4,
        "decode_tps": 2,
    }


def test_compute_and_wait_are_summed_by_stage_and_phase_but_for_the_wait_for_the_request():
    measured = Measurement(STAGES)
    measured.add_step(step(1, (1, 100, 0), (2, 100, 0)), None, True)
    measured.add_step(step(2, (1, 0.5, 0), (2, 0.25, 0)), None, True)
    measured.add_step(step(3, (4, 8, 0), (5, 16, 0)), 20.0, False)
    prefill = [(total.compute_s, total.wait_s) for total in measured.prefill]
    decode = [(total.compute_s, total.wait_s) for total in measured.decode]
    assert prefill == [(2, 0.5), (4, 0.25)]
    assert decode == [(4, 8), (5, 16)]
    assert [asdict(stage) for stage in measured.stage_figures()] == [
        {"node": "pi1", "layers": "0:3", "compute_s": 6, "wait_s": 8.5},
        {"node": "pi2", "layers": "3:5", "compute_s": 9, "wait_s": 16.25},
    ]


def test_a_hop_is_the_time_outside_of_all_stages_over_the_links():
    measured = Measurement(STAGES)
    measured.add_step(step(1, (1, 0, 0), (1, 0, 0)), None, True)
    # Two stages are joined by three links; they took 10 - (1 + 2) - (3 + 1) = 3 seconds.
    measured.add_step(step(2, (1, 9, 2), (3, 9, 1)), 10.0, False)
    assert measured.hops_s == [1.0]


def test_clocks_that_disagree_give_no_negative_hop():
    measured = Measurement(STAGES)
    measured.add_step(step(1, (1, 0, 0), (1, 0, 0)), 1.5, False)
    assert measured.hops_s == [0.0]


def test_a_result_without_a_stages_times_is_our_own_bug():
    with pytest.raises(ValueError, match="shorter"):
        Measurement(STAGES).add_step(step(1, (1, 0, 0)), None, True)
