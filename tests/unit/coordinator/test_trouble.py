"""How long a pipeline was lost: as far as somebody asked for it, or it was being mended."""

import time

import pytest

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.coordinator.trouble import Healing, Trouble


def test_hours_in_which_nobody_asked_count_neither_as_lost_nor_as_waited():
    now = time.monotonic()
    trouble = Trouble(NodeLost("pi2"), ("pi2",), began_s=now - 7_204, silent_s=8)
    trouble.mended_at_s = now - 7_200
    assert trouble.waited_s == pytest.approx(4)
    trouble.was_asked()
    assert trouble.waited_s == pytest.approx(4, abs=60)
    assert trouble.lost_s == pytest.approx(12, abs=60)
    trouble.was_asked()
    assert trouble.idle_s == pytest.approx(7_200, abs=60), "each hour counts once"


def test_what_is_done_is_told_once_however_many_wait_for_it():
    loss = NodeLost("pi2")
    healing = Healing(Trouble(loss, ("pi2",)), loss)
    assert [healing.to_tell() for _ in range(3)] == [
        "pi2 stopped answering: looking at the nodes",
        "",
        "",
    ]
    healing.said = "pi2 stopped answering: waiting for it"
    assert [healing.to_tell() for _ in range(2)] == [healing.said, ""]
