"""What ``status`` says of nodes that are short of memory, hot or slowed down."""

import pytest

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.coordinator.pipeline.status import StageStatus
from pi_cluster.coordinator.pipeline.watching import StageLook
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.deploy.screen.status_view import status_json, status_line
from pi_cluster.protos import pi_cluster_pb2 as pb

STAGE = StageAddress("a", "pi1", "127.0.0.1:1", LayerRange(0, 3))
THROTTLED, THROTTLED_BEFORE = 0x4, 0x40000


def look(**told):
    return StageLook(STAGE, "ready", about=pb.NodeDescription(node_id="a", name="pi1", **told))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"short_of_memory": True}, "pi1: short of memory; no new texts begin meanwhile"),
        ({"firmware_flags": THROTTLED, "clock_share": 0.4}, "pi1: slowed down to 40% of its clock"),
        ({"firmware_flags": 0, "temperature_c": 80.0}, "pi1: hot, and about to slow down"),
    ],
)
def test_what_a_node_suffers_from_stands_below_the_table(told, said):
    assert said in status_line([look(**told)], "")


@pytest.mark.parametrize(
    "told",
    [
        {"firmware_flags": THROTTLED_BEFORE, "clock_share": 0.4},
        {"firmware_flags": 0, "temperature_c": 79.9},
        {"temperature_c": 95.0, "clock_share": 0.4},  # a laptop
    ],
)
def test_what_is_over_or_usual_is_not_told(told):
    line = status_line([look(**told)], "")
    assert "slow" not in line and "hot" not in line and "short" not in line


def test_programs_are_told_the_same():
    suffering = look(short_of_memory=True, firmware_flags=THROTTLED, clock_share=0.4)
    for seen, is_short, share in ((suffering, True, 0.4), (look(), False, 1.0)):
        [values] = status_json([seen])
        assert (values["short_of_memory"], values["slowed_to"]) == (is_short, share)
        status = StageStatus.of(seen)
        assert (status.short_of_memory, status.slowed_to) == (is_short, share)
    [lost] = status_json([StageLook(STAGE, "lost", "it does not answer")])
    assert "slowed_to" not in lost and StageStatus.of(StageLook(STAGE, "lost")).slowed_to == 1.0
