"""What nodes tell of their memory and heat: told to people once, and known while it lasts."""

import itertools

from pi_cluster.cluster.heat import share_left
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.speed import Link, NodeProfile, Speed
from pi_cluster.coordinator.pipeline.measuring import capacities
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.coordinator.strained_nodes import Strain, StrainedNodes
from pi_cluster.protos import pi_cluster_pb2 as pb

STAGES = [
    StageAddress("a", "pi1", "127.0.0.1:1", LayerRange(0, 3)),
    StageAddress("b", "pi2", "127.0.0.1:2", LayerRange(3, 5)),
]
THROTTLED = 0x4


def strained():
    """A fresh one, the list of its news, and of what was known whenever memory changed."""
    news, known = [], []
    nodes = StrainedNodes(STAGES, news.append, lambda: known.append(nodes.short_of_memory))
    return nodes, news, known


def test_a_node_that_is_short_of_memory_is_named_until_it_is_so_no_more():
    nodes, news, known = strained()
    for is_short in (False, True, True, False, False):
        nodes.heard(0, pb.PingReply())
        nodes.heard(1, pb.PingReply(short_of_memory=is_short))
    assert known == [("pi2",), ()]
    assert [(one.strain, one.node_id, one.is_over) for one in news] == [
        (Strain.SHORT_OF_MEMORY, "b", False),
        (Strain.SHORT_OF_MEMORY, "b", True),
    ]
    assert news[0].said.startswith("pi2 is short of memory: ")
    assert news[1].said.startswith("pi2 has memory to spare again, after ")


def test_a_hot_node_is_told_once_though_its_fan_goes_on_and_off():
    nodes, news, known = strained()
    for degrees in (60, 79.9, 80, 76, 81, 79, 83, 74.9, 79.9):
        nodes.heard(0, pb.PingReply(temperature_c=degrees))
    assert [(one.strain, one.node, one.is_over) for one in news] == [
        (Strain.HOT, "pi1", False),
        (Strain.HOT, "pi1", True),
    ]
    assert "pi1 is hot (80 °C) and will slow down: " in news[0].said
    assert not known


def test_a_node_that_its_firmware_slows_down_is_told_with_the_clock_that_is_left():
    nodes, news, _ = strained()
    nodes.heard(1, pb.PingReply(temperature_c=85.4, clock_share=0.625))
    assert "slowed down by its firmware (85 °C, at 62% of its clock)" in news[0].said


def test_a_clock_that_goes_down_and_up_with_every_step_is_told_of_once():
    nodes, news, _ = strained()
    for share in (0.0, 0.6, 0.0, 0.6, 0.0, 0.6, 0.0):
        nodes.heard(0, pb.PingReply(temperature_c=60, clock_share=share))
        nodes.heard(1, pb.PingReply(temperature_c=60))
    assert [(one.strain, one.node, one.is_over) for one in news] == [(Strain.HOT, "pi1", False)]


def about(machine, flags=None, clock_share=0.0, is_stored=True):
    told = pb.NodeDescription(node_id=machine, machine_id=machine, clock_share=clock_share)
    if flags is not None:
        told.firmware_flags = flags
    if is_stored:
        told.speed.read_bytes_ps = 1.0
    return told


def test_a_slowed_node_offers_a_plan_no_more_than_its_firmware_leaves_it():
    told = [
        about("cool", flags=0, clock_share=0.4),
        about("unknown", clock_share=0.4),
        about("hot", flags=THROTTLED, clock_share=0.4),
        about("hot before", flags=THROTTLED << 16, clock_share=0.4),
        about("no clock", flags=THROTTLED),
        about("measured hot", flags=THROTTLED, clock_share=0.4, is_stored=False),
    ]
    nodes = [Node(f"127.0.0.1:{port}", one) for port, one in zip(itertools.count(1), told)]
    profile = NodeProfile(Speed(10.0, 100.0), Speed(20.0, 200.0))
    offered = capacities(nodes, [profile] * len(nodes), [Link(1.0, 1.0)] * len(nodes))
    slow = [one.node_id for one in offered if one.speed != profile.alone]
    assert slow == ["hot"]
    hot = offered[2]
    assert (hot.speed, hot.machine_speed) == (Speed(4.0, 40.0), Speed(8.0, 80.0))


def test_what_under_voltage_alone_does_not_slow_down_keeps_its_speed():
    assert share_left(about("a", flags=0x1, clock_share=0.5)) == 1.0
