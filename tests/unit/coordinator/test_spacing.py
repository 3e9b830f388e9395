"""When guesses leave: as soon as a stage has room for them, and no sooner."""

from pi_cluster.coordinator.scheduling.spacing import Spacing


def test_guesses_wait_until_the_step_before_has_passed_a_stage():
    spacing = Spacing()
    assert spacing.wait_s(now=5.0) == 0
    spacing.sent(5.0, 0.1, ahead=0)
    assert round(spacing.wait_s(5.0), 6) == 0.1
    assert round(spacing.wait_s(5.06), 6) == 0.04
    assert spacing.wait_s(5.2) == 0


def test_a_step_that_is_sent_meanwhile_counts_behind_the_one_before():
    spacing = Spacing()
    spacing.sent(5.0, 0.1, ahead=0)
    spacing.sent(5.02, 0.3, ahead=1)
    assert round(spacing.wait_s(5.02), 6) == 0.38


def test_they_never_wait_for_more_than_is_under_way():
    spacing = Spacing()
    for _ in range(50):
        spacing.sent(5.0, 0.1, ahead=3)
    assert spacing.wait_s(5.0) <= 0.1 * 5 + 1e-9
    spacing.sent(6.0, 0.1, ahead=0)
    assert round(spacing.wait_s(6.0), 6) == 0.1
