"""Facts of a cluster in which nothing is the matter, to be changed one at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.records.pipeline_record import RecordedStage
from pi_cluster.coordinator.stage_address import StageAddress
from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined, OperatorFacts
from pi_cluster.protos import pi_cluster_pb2 as pb

NOW = 1_800_000_000.0
NAMES = ("pi1", "pi2", "pi3")


def address_of(name: str) -> str:
    """Where a node of these facts is."""
    return f"192.168.1.{10 + NAMES.index(name)}:7711"


def a_node(name: str = "pi1", **changes: Any) -> Examined:
    """A Pi 5 that is well; a change names a field of what it told, or of the node itself."""
    others = [other for other in NAMES if other != name]
    about = pb.NodeDescription(
        node_id=f"id-of-{name}",
        name=name,
        cluster="home",
        version="1.0",
        machine_id=f"boot-of-{name}",
        memory_bytes=8 << 30,
        free_memory_bytes=6 << 30,
        free_disk_bytes=20 << 30,
        kernels="neon-dotprod",
        threads=4,
        speed=pb.NodeSpeed(read_bytes_ps=11e9, macs_ps=70e9),
        temperature_c=50,
        stage=pb.StageStatus(epoch=3, layers=pb.LayerRange(start=0, stop=8)),
        certificate_expires_unix_s=int(NOW) + 300 * 86_400,
    )
    examination = pb.Examination(
        system="Debian GNU/Linux 12 (bookworm)",
        linux="6.12",
        architecture="aarch64",
        model="Raspberry Pi 5 Model B Rev 1.0",
        python="3.11.2",
        wheel="py3-none-linux_aarch64",
        disk_bytes=30 << 30,
        disk_read_bytes_ps=80e6,
        throttled=0,
        clock_synchronised=True,
        uptime_s=36_000,
        load=1.0,
        ports=[a_port()],
        heard=[f"id-of-{name}", *(f"id-of-{other}" for other in others)],
        reached=[pb.Reached(address=address_of(other)) for other in others],
    )
    where = StageAddress(f"id-of-{name}", name, address_of(name), LayerRange(0, 8))
    node = Examined(
        Peer(address_of(name), f"id-of-{name}", name),
        about,
        examination,
        clock_offset_s=0.01,
        recorded=RecordedStage(where, 1 << 30, 2 << 30),
    )
    return changed(node, **changes)


def changed(node: Examined, **changes: Any) -> Examined:
    """The node with other facts; None clears a field that may be absent."""
    for field, value in changes.items():
        if field in ("peer", "clock_offset_s", "recorded"):
            node = replace(node, **{field: value})
            continue
        told = node.about if field in node.about.DESCRIPTOR.fields_by_name else node.examination
        told.ClearField(field)
        if isinstance(value, list):
            getattr(told, field).extend(value)
        elif value is not None and hasattr(value, "CopyFrom"):
            getattr(told, field).CopyFrom(value)
        elif value is not None:
            setattr(told, field, value)
    return node


def a_port(**changes: Any) -> pb.NetworkPort:
    """A cable at Gigabit."""
    values: dict[str, Any] = {
        "name": "eth0",
        "is_up": True,
        "megabits_ps": 1000,
        "full_duplex": True,
        "carrier_changes": 2,
        "energy_efficient": True,
        "addresses": ["192.168.1.10"],
    }
    return pb.NetworkPort(**(values | changes))


def an_operator(**changes: Any) -> OperatorFacts:
    """A computer of the same version that hears all nodes."""
    values: dict[str, Any] = {
        "version": "1.0",
        "python": "3.12.1",
        "ssh": "/usr/bin/ssh",
        "heard": tuple(f"id-of-{name}" for name in NAMES),
        "mdns_error": "",
        "exposed_keys": (),
        "free_disk_bytes": 100 << 30,
        "disk_folder": Path("/home"),
    }
    return OperatorFacts(**(values | changes))


def a_cluster(*nodes: Examined, **changes: Any) -> ClusterFacts:
    """Three nodes that are well, unless others are given."""
    values: dict[str, Any] = {
        "cluster": "home",
        "operator": an_operator(),
        "nodes": nodes or tuple(map(a_node, NAMES)),
        "silent": (),
        "epoch": 3,
        "record_error": "",
        "now_unix_s": NOW,
    }
    return ClusterFacts(**(values | changes))


def with_first(**changes: Any) -> ClusterFacts:
    """A cluster of three whose first node differs."""
    return a_cluster(a_node("pi1", **changes), a_node("pi2"), a_node("pi3"))
