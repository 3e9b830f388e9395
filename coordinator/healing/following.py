"""A pipeline that another machine has brought up or mended since: found, and asked from then on."""

import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from enum import Enum

from pi_cluster.cluster import settings
from pi_cluster.cluster.discovery import mdns
from pi_cluster.cluster.errors import ClusterError, StateError
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.interfaces import own_interfaces
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.healing.looking import each_answer
from pi_cluster.coordinator.healing.told_pipeline import (
    followed,
    is_being_replaced,
    told_peers,
)
from pi_cluster.coordinator.pipeline.nodes import Node, ask_node
from pi_cluster.coordinator.records.events import EventKind, EventLog
from pi_cluster.coordinator.records.kept_record import changing, load_record, replace_record
from pi_cluster.coordinator.records.known_nodes import known_nodes
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord

_WITHIN_S = settings.CONNECT_TIMEOUT_S
_LEAVE_TO_OTHERS_S = 2.0, 6.0  # apart by chance: two that were in each other's way try again


class Later(Enum):
    """What there is beside a pipeline that its nodes have left."""

    FOUND = "found"
    """Another one of the same store, which is remembered now."""
    COMING = "coming"
    """One that is not whole yet: another machine is loading it, or broke off while it was."""
    NONE = "none"


def follow(record: PipelineRecord, dialer: Dialer) -> Later:
    """Look for the pipeline that has taken a recorded one's place, and remember it instead.

    Takes as long as :func:`look_for_newer`.
    """
    newer, nodes = look_for_newer(record, dialer)
    if newer:
        return remember(newer)
    return Later.COMING if is_being_replaced(record, nodes) else Later.NONE


def remember(newer: PipelineRecord) -> Later:
    """Ask a pipeline that was found, unless this machine brings up or knows a later one."""
    cluster = newer.folder.name
    try:
        with changing(cluster):
            if load_record(cluster).epoch < newer.epoch:
                replace_record(newer)
                names = ", ".join(stage.name for stage in newer.addresses)
                said = f"another machine brought the pipeline up, on {names}: asking that one"
                EventLog(cluster).note(EventKind.UP, said, {"epoch": newer.epoch})
    except StateError:
        return Later.COMING  # it is brought up or down here, by another program
    return Later.FOUND


class Courtesy:
    """How long another machine that loads a pipeline is left alone. It may have broken off."""

    def __init__(self) -> None:
        self._until_s: dict[int, float] = {}

    def leaves(
        self, record: PipelineRecord, nodes: Iterable[Node], ours: Collection[int] = ()
    ) -> bool:
        """Whether to wait, and look again, since others are at work.

        They are not where the latest epoch is one of ``ours``, in which we broke off.
        """
        told = list(nodes)
        if not is_being_replaced(record, told):
            return False
        epoch = max(node.about.stage.epoch for node in told)
        if epoch in ours:
            return False
        now = time.monotonic()
        left_s = secrets.SystemRandom().uniform(*_LEAVE_TO_OTHERS_S)
        return now < self._until_s.setdefault(epoch, now + left_s)


def look_for_newer(
    record: PipelineRecord, dialer: Dialer
) -> tuple[PipelineRecord | None, Collection[Node]]:
    """The pipeline of the same store that has taken a recorded one's place; and who answered.

    Asked are the nodes of the record, those that were met before, and those of which these tell.
    Only where they hold neither that pipeline nor a later one, others are listened for.
    Takes some milliseconds where a newer pipeline is whole, and up to ten seconds else.
    """
    peers = [stage.peer for stage in record.addresses] + known_nodes(record.folder.name)
    nodes: dict[str, Node] = {}
    newer = _asked(record, peers, nodes, dialer)
    newer = newer or _asked(record, told_peers(nodes.values(), own_interfaces()), nodes, dialer)
    if newer is None and all(node.about.stage.epoch < record.epoch for node in nodes.values()):
        heard = _heard(record, nodes)
        nodes = {}  # meanwhile they may have loaded what they were given
        newer = _asked(record, [*heard, *peers], nodes, dialer)
    return newer, nodes.values()


def _asked(
    record: PipelineRecord, peers: Sequence[Peer], nodes: dict[str, Node], dialer: Dialer
) -> PipelineRecord | None:
    """What takes the record's place once these have answered too; ``nodes`` gets their answers."""
    new = {peer.node_id: peer for peer in reversed(peers) if peer.node_id not in nodes}
    for node_id, answer in each_answer(new.values(), lambda one: ask_node(one, dialer), _WITHIN_S):
        if isinstance(answer, Node):
            nodes[node_id] = answer
            # Who is switched off keeps nobody waiting for those that are not.
            if newer := followed(record, nodes.values()):
                return newer
    return None


def _heard(record: PipelineRecord, nodes: dict[str, Node]) -> list[Peer]:
    """Nodes of the cluster that announce themselves, whoever they are."""
    try:
        heard = mdns.listen(record.folder.name, settings.DISCOVERY_S, known=nodes)
    except ClusterError:
        return []  # a network without mDNS: what the nodes told is all there is
    return [peer for peer in heard.peers if not peer.joining]
