"""How long one has to wait follows from how long others held their places."""

from pi_cluster.coordinator.scheduling.expected_wait import HeldPlaces


def test_nothing_is_expected_before_anything_is_known():
    assert HeldPlaces().expected_wait_s(0, 3) is None


def test_a_place_comes_free_every_mean_time_over_the_number_of_places():
    held = HeldPlaces()
    held.add(10.0)
    held.add(20.0)
    assert held.expected_wait_s(0, 1) == 15.0
    assert held.expected_wait_s(3, 2) == 30.0
    assert held.expected_wait_s(0, 0) is None


def test_what_was_long_ago_counts_no_more():
    held = HeldPlaces()
    for _ in range(100):
        held.add(1000.0)
    for _ in range(32):
        held.add(2.0)
    assert held.expected_wait_s(0, 1) == 2.0
