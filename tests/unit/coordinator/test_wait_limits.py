"""How long a session waits, and how its limits lie to each other."""

import pytest

from pi_cluster.coordinator.wait_limits import USUAL_LIMITS, WaitLimits
from pi_cluster.transformer.errors import SettingsError


def test_a_gap_of_eight_seconds_is_borne_and_whoever_asks_gives_up_before_the_nodes_do():
    limits = USUAL_LIMITS
    assert limits.give_up_after_s == 8.0
    assert limits.told_after_s < 3.0 < limits.give_up_after_s < limits.silent_s < limits.held_s


@pytest.mark.parametrize("seconds", [3.0, 12.5, 20.0])
def test_people_may_wait_for_longer_or_less(seconds):
    limits = WaitLimits(seconds)
    assert limits.told_after_s < limits.give_up_after_s < limits.silent_s < limits.held_s


@pytest.mark.parametrize("seconds", [0.0, 2.9, 21.0, float("nan"), float("inf")])
def test_what_connections_cannot_bear_is_refused(seconds):
    with pytest.raises(SettingsError, match="after 3 to 20 seconds"):
        WaitLimits(seconds)
