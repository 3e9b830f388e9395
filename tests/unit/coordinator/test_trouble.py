"""How long a pipeline was lost: as far as somebody asked for it, or it was being mended."""

import time

import pytest

from pi_cluster.cluster.errors import NodeLost
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.silent import all_lost, all_silent, link_silent, node_silent
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.trouble import Healing, Trouble

STAGES = [
    StageAddress(f"id{n}", f"pi{n}", f"10.0.0.{n}:7711", LayerRange(n, n + 1)) for n in (1, 2, 3)
]
PI1, PI2, PI3 = STAGES


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


@pytest.mark.parametrize(
    ("silent", "names", "what", "back"),
    [
        ([node_silent(PI2, 9)], ("pi2",), "pi2 stopped answering", "it is back, "),
        (
            [node_silent(PI2, 9), node_silent(PI3, 9)],
            ("pi2", "pi3"),
            "pi2 and pi3 stopped answering",
            "they are back, ",
        ),
        (
            [link_silent(PI1, PI2, 9)],
            ("pi1", "pi2"),
            "pi1 and pi2 lost each other",
            "they are back, ",
        ),
        (
            [link_silent(PI1, PI2, 9)],
            ("pi1", "pi2", "pi3"),
            "pi1 and pi2 lost each other, and pi3 stopped answering",
            "they are back, ",
        ),
        ([all_silent(STAGES, 9)], (), "all 3 nodes fell silent", ""),
        (
            [all_silent(STAGES, 9)],
            ("pi2",),
            "all 3 nodes fell silent, and pi2 stopped answering",
            "it is back, ",
        ),
    ],
)
def test_of_nodes_that_answer_it_is_not_said_that_they_stopped(silent, names, what, back):
    trouble = Trouble(all_lost(silent), names)
    assert (trouble.what, trouble.back) == (what, back)


def test_what_was_in_vain_tells_the_loss_once():
    silent = all_silent(STAGES, 9)
    assert Trouble(all_lost([silent]), ()).in_vain(3) == (
        "all 3 nodes fell silent, and 3 s have passed in vain: none of the 3 nodes (pi1, pi2, pi3) "
        "has answered for 9 s: see whether this computer's network is up, and theirs"
    )
    plain = NodeLost("the pipeline ended the session early")
    assert Trouble(plain, ()).in_vain(3) == (
        "the session was lost (the pipeline ended the session early), and 3 s have passed in vain"
    )
