"""A look at all nodes that a lost pipeline has, and at those that it could have."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pi_cluster.cluster.errors import ClusterError
from pi_cluster.cluster.wire.dialing import Dialer
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.coordinator.healing.decision import StageSeen
from pi_cluster.coordinator.pipeline.nodes import Node, ask_node
from pi_cluster.coordinator.records.pipeline_record import PipelineRecord
from pi_cluster.coordinator.stage_address import StageAddress

_LOOK_S = 2.0
_TRY_NEXT_S = 3.0  # a node gives up after less


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment."""

    stages: tuple[StageSeen, ...]
    nodes: Mapping[str, Node]
    """All that answered, by node id."""
    refusals: Mapping[str, ClusterError]
    """Why others did not, by node id, as far as that is known yet."""


def look(record: PipelineRecord, spares: Iterable[Peer], dialer: Dialer) -> Look:
    """Ask the nodes of a pipeline, and ``spares`` beside them, all at once.

    Whoever does not answer within two seconds counts as missing. Where nobody is missing, each
    stage tries the one after it as well.
    """
    peers = {stage.node_id: stage.peer for stage in record.addresses}
    peers |= {peer.node_id: peer for peer in spares if peer.node_id not in peers}
    answers = dict(each_answer(peers.values(), lambda peer: ask_node(peer, dialer), _LOOK_S))
    # In the pipeline's order, whoever answered first: what follows from a look is always the same.
    nodes = {one: found for one in peers if isinstance(found := answers.get(one), Node)}
    refusals = {k: one for k, one in answers.items() if isinstance(one, ClusterError)}
    stages = [_seen(stage, nodes.get(stage.node_id), record) for stage in record.addresses]
    if all(stage.answers for stage in stages):
        stages = _with_links(stages, nodes, dialer)
    return Look(tuple(stages), nodes, refusals)


def _with_links(
    stages: Sequence[StageSeen], nodes: Mapping[str, Node], dialer: Dialer
) -> list[StageSeen]:
    """The stages, with what each that is loaded tells of its way to the next."""
    trying = [nodes[stage.node_id].peer for stage in stages[:-1] if stage.is_loaded]
    told = dict(
        each_answer(trying, lambda peer: ask_node(peer, dialer, try_next=True), _TRY_NEXT_S)
    )
    cut_off = {k for k, one in told.items() if isinstance(one, Node) and one.about.stage.next_error}
    return [replace(stage, reaches_next=stage.node_id not in cut_off) for stage in stages]


def each_answer(
    peers: Collection[Peer], ask: Callable[[Peer], Node | ClusterError], within_s: float
) -> Iterator[tuple[str, Node | ClusterError]]:
    """Node ids and what came of each in time, as it comes.

    Threads that wait for longer end by themselves: each call is bounded.
    """
    came: queue.SimpleQueue[tuple[str, Node | ClusterError]] = queue.SimpleQueue()

    def answered(peer: Peer) -> None:
        came.put((peer.node_id, ask(peer)))

    for peer in peers:
        threading.Thread(target=answered, args=(peer,), name="look", daemon=True).start()
    deadline = time.monotonic() + within_s
    with contextlib.suppress(queue.Empty):
        for _ in peers:
            yield came.get(timeout=max(0.0, deadline - time.monotonic()))


def _seen(stage: StageAddress, node: Node | None, record: PipelineRecord) -> StageSeen:
    if node is None:
        return StageSeen(stage.node_id, stage.name, answers=False)
    served = node.about.stage
    is_loaded = node.about.HasField("stage") and (
        (served.epoch, served.store_digest, served.layers.start, served.layers.stop)
        == (record.epoch, record.manifest.digest, stage.layers.start, stage.layers.stop)
    )
    has_moved = node.address not in stage.peer.addresses
    return StageSeen(stage.node_id, stage.name, True, is_loaded, has_moved)
