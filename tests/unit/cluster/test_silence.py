"""Silence is counted by whoever is awake: what is slept through oneself is nobody's silence."""

import pytest

from pi_cluster.cluster import silence
from pi_cluster.cluster.silence import Silence


@pytest.fixture
def clock(monkeypatch):
    """Says what its entry says."""
    now = [100.0]
    monkeypatch.setattr(silence.time, "monotonic", lambda: now[0])
    return now


def looks(of, clock, *steps):
    found = []
    for step in steps:
        clock[0] += step
        found.append(of.look())
    return found


def test_silence_grows_from_look_to_look_and_ends_with_a_sign(clock):
    someone = Silence()
    assert looks(someone, clock, 0.5, 0.5, 0.25) == [0.5, 1.0, 1.25]
    clock[0] += 0.5
    someone.heard()
    assert looks(someone, clock, 0.25) == [0.25]


def test_of_a_long_time_without_a_look_one_second_counts(clock):
    someone = Silence()
    assert looks(someone, clock, 0.5, 20.0, 0.5) == [0.5, 1.5, 2.0]
