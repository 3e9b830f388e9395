"""What the benchmarks of pipelines make of their measurements."""

import sys

import pytest

from benchmarks.json_process import JsonProcess, ProcessEnded
from benchmarks.kernels.report import table
from benchmarks.kernels.versus import Pair
from benchmarks.pipeline.comparisons import UserTimes, overhead_row, peer_row, users_row
from benchmarks.pipeline.coordinator import _beside_computing
from pi_cluster.coordinator.scheduling.sent_steps import StepRecord
from pi_cluster.coordinator.steps import StageTime, StepResult

_SERVED = """
from benchmarks.json_process import serve

class Work:
    def double(self, number):
        return {"number": 2 * number}

serve(Work())
"""


def test_users_are_compared_by_their_median_time_from_token_to_token():
    row = users_row(UserTimes(two=[0.1, 0.1, 9.0], one=[0.19, 0.19, 0.2], halved=[0.1]))
    assert row.value == pytest.approx(1.9) and row.verdict == "reached"
    assert "2.00 x" in row.note


def test_a_row_without_its_peer_says_why():
    rows = [
        peer_row("decode", "decode", 1.5, Pair(0.1, None), "not measured: no peer"),
        peer_row("wifi", "wifi", 1.4, None, "not measured: no root"),
        peer_row("prefill", "prefill", 4.0, Pair(1.0, 3.0, "some way"), ""),
        overhead_row(0.0002),
    ]
    lines = table(rows).splitlines()[2:]
    assert [row.verdict for row in rows[2:]] == ["MISSED", "reached"]
    assert "no peer" in lines[0] and "no root" in lines[1] and "<= 0.3 ms" in lines[3]


def test_what_is_no_computing_is_shared_by_the_stages():
    stages = (StageTime(0.002, 0, 0), StageTime(0.003, 0, 0))
    steps = [StepRecord(at, at + 0.006, 1, 0, 0, StepResult(1, (), stages)) for at in (1.0, 1.007)]
    assert list(_beside_computing(steps)) == pytest.approx([0.001])


def test_a_process_answers_until_it_ends_and_its_last_words_are_told(tmp_path):
    with JsonProcess([sys.executable, "-c", _SERVED], tmp_path / "log") as process:
        assert process.ask("double", number=4) == {"number": 8}
        with pytest.raises(ProcessEnded, match="no attribute 'halve'"):
            process.ask("halve", number=4)
