"""Loads are shares of the last seconds, from sums that only grow."""

import pytest

from pi_cluster.coordinator.scheduling.counters import Counters, StageWork
from pi_cluster.server.native.state_loads import Loads


def counters(**sums_s):
    return Counters(stages={node: StageWork(node, sum_s) for node, sum_s in sums_s.items()})


def test_a_load_is_the_share_of_the_last_five_seconds():
    loads = Loads()
    assert loads.of(counters(one=100.0), 0.0) == {}, "one look says nothing of the time before it"
    for second in range(1, 10):
        found = loads.of(counters(one=100.0 + second / 2), float(second))
        assert found == {"one": pytest.approx(0.5)}
    for second in range(10, 14):
        found = loads.of(counters(one=104.5), float(second))
    assert found == {"one": pytest.approx(0.1)}
    assert loads.of(counters(one=104.5), 14.0) == {"one": 0.0}


def test_a_step_that_took_longer_than_it_was_looked_at_is_a_whole_load():
    loads = Loads()
    loads.of(counters(one=0.0), 0.0)
    assert loads.of(counters(one=9.0), 1.0) == {"one": 1.0}


def test_sums_that_begin_anew_and_nodes_that_are_new_are_no_negative_loads():
    loads = Loads()
    loads.of(counters(one=50.0), 0.0)
    assert loads.of(counters(one=0.5, two=1.0), 2.0) == {"one": 0.0, "two": 0.5}
