"""Asks every known node of a cluster how it is, all at once, and this machine too."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pi_cluster.cluster import settings
from pi_cluster.cluster.discovery import mdns
from pi_cluster.cluster.errors import ClusterError, NodeError
from pi_cluster.cluster.wire.addresses import without_scope
from pi_cluster.cluster.wire.client import NodeClient
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import (
    MOST_ADDRESSES,
    Peer,
    is_loopback,
    parse_nodes,
    split_address,
)
from pi_cluster.coordinator.pipeline.nobody_found import nobody_found
from pi_cluster.coordinator.pipeline.nodes import Node
from pi_cluster.coordinator.records.access import still_insecure
from pi_cluster.coordinator.records.advice import up_again
from pi_cluster.coordinator.records.kept_record import has_record, load_record
from pi_cluster.coordinator.records.known_hosts import KnownHost, load_hosts
from pi_cluster.coordinator.records.known_nodes import known_nodes
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord, RecordedStage
from pi_cluster.deploy.doctor.facts import ClusterFacts, Examined, HostService, Silent
from pi_cluster.deploy.doctor.own_machine import own_facts
from pi_cluster.deploy.doctor.own_server import server_facts
from pi_cluster.deploy.known_local_workers import is_local, log_file
from pi_cluster.worker.machine.reach import why_not

ServiceOf = Callable[[str, Peer, Sequence[KnownHost]], HostService | None]
"""How the service of a silent node is, told by its host; None where nobody can ask that."""

_LISTEN_MS = int(1000 * settings.DISCOVERY_S)
_MOST_ADDRESSES = 64  # that a node tries to reach
_AT_ONCE = 32


def gather_facts(
    cluster: str,
    named: str | None,
    dialer: Dialer,
    service_of: ServiceOf,
    first: Callable[[Sequence[Peer]], object] = lambda _: None,
) -> ClusterFacts:
    """Everything that can be found out about a cluster, in about ten seconds.

    Asks the nodes that ``named`` lists, or else those of the pipeline that is up and those that
    mDNS finds; ``first`` is done to them before. Nodes that do not answer are part of the answer;
    ``ClusterError`` is raised only for a list that is none.
    """
    listed = parse_nodes(named) if named else []
    record, record_error = _record(cluster)
    heard, mdns_error = _listen(cluster)
    hosts, hosts_error = _hosts(cluster)
    examiner = _Examining(cluster, dialer, record, hosts, service_of)
    met, met_error = _met(cluster)
    server, server_error = server_facts(cluster)
    peers = listed or _known(record, hosts, met, heard)
    first(peers)
    nodes, silent = examiner.examine(peers)
    return ClusterFacts(
        cluster=cluster,
        operator=own_facts(cluster, tuple(peer.node_id for peer in heard), mdns_error),
        nodes=tuple(nodes),
        silent=tuple(silent),
        epoch=record.epoch if record else None,
        record_error=record_error or hosts_error or met_error or server_error,
        now_unix_s=time.time(),
        up=up_again(cluster, record.call, record.insecure) if record else up_again(cluster, None),
        begin=nobody_found(cluster),
        server=server,
    )


def was_insecure(cluster: str) -> bool:
    """Whether the pipeline that is up was brought up without certificates."""
    record, _ = _record(cluster)
    return record is not None and still_insecure(cluster, record.insecure)


class _Examining:
    """First asks all nodes who they are, then has each try to reach the others."""

    def __init__(
        self,
        cluster: str,
        dialer: Dialer,
        record: PipelineRecord | None,
        hosts: Sequence[KnownHost],
        service_of: ServiceOf,
    ) -> None:
        self._cluster = cluster
        self._dialer = dialer
        self._hosts = hosts
        self._service_of = service_of
        self._stages = {stage.where.node_id: stage for stage in record.stages} if record else {}

    def examine(self, peers: Sequence[Peer]) -> tuple[list[Examined], list[Silent]]:
        """What all of them told, in the order of ``peers``."""
        if not peers:
            return [], []
        with ThreadPoolExecutor(min(_AT_ONCE, len(peers)), "examine") as pool:
            described = list(pool.map(self._described, peers))
            answering = [answer for answer in described if isinstance(answer, Node)]
            answers = list(
                pool.map(
                    lambda node: node if isinstance(node, Silent) else self._one(node, answering),
                    described,
                )
            )
        return (
            [answer for answer in answers if isinstance(answer, Examined)],
            [answer for answer in answers if isinstance(answer, Silent)],
        )

    def _described(self, peer: Peer) -> Node | Silent:
        try:
            with NodeClient(peer, self._dialer) as client:
                return Node(client.peer.address, client.describe(), client.peer.others)
        except ClusterError as error:
            return self._silent(peer, error, why_not(*split_address(peer.address)))

    def _one(self, node: Node, all_nodes: Sequence[Node]) -> Examined | Silent:
        try:
            with NodeClient(node.peer, self._dialer) as client:
                told = client.examine(_others(node, all_nodes), _LISTEN_MS, measure_disk=True)
        except ClusterError as error:
            return self._silent(node.peer, error, "")
        offset_s = told.clock_unix_s - time.time()
        if not math.isfinite(offset_s):
            return self._silent(node.peer, NodeError("it tells of an impossible time"), "")
        return Examined(node.peer, node.about, told, offset_s, self._stage(node.peer))

    def _silent(self, peer: Peer, error: ClusterError, connection: str) -> Silent:
        service = self._service_of(self._cluster, peer, self._hosts)
        log = log_file(self._cluster, peer.name) if is_local(self._cluster, peer) else None
        return Silent(peer, error, connection, self._stage(peer), service, log)

    def _stage(self, peer: Peer) -> RecordedStage | None:
        return self._stages.get(peer.node_id)


def _others(node: Node, all_nodes: Sequence[Node]) -> list[str]:
    """Addresses of the other nodes; loopback ones only where they mean the same machine."""
    return [
        without_scope(other.address)
        for other in all_nodes
        if other.about.node_id != node.about.node_id
        and (not is_loopback(other.address) or other.about.machine_id == node.about.machine_id)
    ][:_MOST_ADDRESSES]


def _record(cluster: str) -> tuple[PipelineRecord | None, str]:
    """The pipeline that is up, if there is one, or why it cannot be read."""
    if not has_record(cluster):
        return None, ""
    try:
        return load_record(cluster), ""
    except ClusterError as error:
        return None, str(error)


def _listen(cluster: str) -> tuple[list[Peer], str]:
    """The nodes that mDNS finds, or why it cannot be used."""
    try:
        return mdns.discover(cluster, settings.DISCOVERY_S), ""
    except (ClusterError, OSError) as error:
        return [], str(error)


def _hosts(cluster: str) -> tuple[list[KnownHost], str]:
    """The hosts that were set up over SSH, or why what `up` remembers of them cannot be read."""
    try:
        return load_hosts(cluster), ""
    except ClusterError as error:
        return [], str(error)


def _met(cluster: str) -> tuple[list[Peer], str]:
    """The nodes that answered an `up` before, or why what it remembers cannot be read."""
    try:
        return known_nodes(cluster), ""
    except ClusterError as error:
        return [], str(error)


def _known(
    record: PipelineRecord | None,
    hosts: Sequence[KnownHost],
    met: Sequence[Peer],
    heard: Sequence[Peer],
) -> list[Peer]:
    """Each node once: where it is heard now, or else where it was when it was set up or used."""
    known = {
        host.node_id: Peer(host.address, host.node_id, host.host.host)
        for host in hosts
        if host.node_id
    }
    known |= {peer.node_id: peer for peer in met}
    if record:
        known |= {where.node_id: where.peer for where in record.addresses}
    for peer in heard:
        if not peer.joining:
            last = known.get(peer.node_id, peer)
            addresses = dict.fromkeys([*peer.addresses, *last.addresses])
            known[peer.node_id] = peer.at(list(addresses)[:MOST_ADDRESSES])
    return list(known.values())
