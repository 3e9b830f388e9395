"""A worker's place in a pipeline, as it is asked for and as it is kept."""

from dataclasses import dataclass

from pi_cluster.cluster import settings
from pi_cluster.cluster.errors import NodeError
from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.wire.load_request import load_request
from pi_cluster.cluster.wire.peer import Peer, told_peer
from pi_cluster.protos import pi_cluster_pb2 as pb
from pi_cluster.transformer.limits import Limits

_MOST = {
    "max_step_rows": 4_096,
    "max_sequences": 1_024,
    "context": 1 << 24,
    "cache_positions": 1 << 40,
}
"""Bounds of what a coordinator may ask for; whether it fits is the planner's business."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A worker's place in one epoch of a pipeline."""

    epoch: int
    manifest: Manifest
    layers: LayerRange
    limits: Limits
    following: Peer | None
    """The next hop; None for the last stage."""
    previous_node_id: str
    """Who may send steps; empty for the first stage, which a coordinator sends them to."""
    neighbours: tuple[Peer, ...] = ()
    """Whom to ask for a shard that got damaged."""
    standby: frozenset[str] = frozenset()
    """Digests of the shards that it keeps for the layers of others."""


def _following(request: pb.LoadStageRequest) -> Peer | None:
    if not request.next_address:
        return None
    return told_peer(
        request.next_address, request.next_other_addresses, request.next_node_id, request.next_node
    )


def _neighbours(request: pb.LoadStageRequest) -> tuple[Peer, ...]:
    if len(request.neighbours) > settings.MOST_NEIGHBOURS:
        raise NodeError(f"at most {settings.MOST_NEIGHBOURS} neighbours are remembered")
    return tuple(
        told_peer(one.address, one.other_addresses, one.node_id, one.name)
        for one in request.neighbours
    )


def _standby(request: pb.LoadStageRequest, manifest: Manifest) -> frozenset[str]:
    standby = frozenset(request.standby_sha256)
    if not standby <= {file.sha256 for file in manifest.files}:
        raise NodeError("a node stands by with shards of the store that it loads, and no others")
    return standby


def assignment_of(request: pb.LoadStageRequest) -> Assignment:
    """What a request asks for. Raises ``NodeError`` or ``StoreError`` where it is out of bounds."""
    try:
        layers = LayerRange(request.layers.start, request.layers.stop)
    except ValueError as error:
        raise NodeError(str(error)) from None
    limits = Limits(
        request.max_step_rows, request.max_sequences, request.context, request.cache_positions
    )
    for name, most in _MOST.items():
        if not 1 <= getattr(limits, name) <= most:
            raise NodeError(f"{name} is {getattr(limits, name)}; it must be from 1 to {most}")
    manifest = Manifest.from_json(request.manifest)
    if bool(request.next_address) != (layers.stop < manifest.n_layers):
        raise NodeError("every stage but the last needs a next hop, and the last has none")
    return Assignment(
        epoch=request.epoch,
        manifest=manifest,
        layers=layers,
        limits=limits,
        following=_following(request),
        previous_node_id=request.previous_node_id,
        neighbours=_neighbours(request),
        standby=_standby(request, manifest),
    )


def request_for(assignment: Assignment) -> pb.LoadStageRequest:
    """The request that asks for an assignment."""
    return load_request(
        assignment.epoch,
        assignment.manifest,
        assignment.layers,
        assignment.limits,
        assignment.following,
        assignment.previous_node_id,
        assignment.neighbours,
        sorted(assignment.standby),
    )
