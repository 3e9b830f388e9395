"""The request that gives a node its stage: a coordinator sends it, and a node keeps it."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from pi_cluster.cluster.layer_range import LayerRange
from pi_cluster.cluster.store.manifest import Manifest
from pi_cluster.cluster.wire.peer import Peer
from pi_cluster.protos import pi_cluster_pb2 as pb


class StageLimits(Protocol):
    """What a stage is to accept: ``transformer.stage.Limits``."""

    @property
    def max_step_rows(self) -> int: ...
    @property
    def max_sequences(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def cache_positions(self) -> int: ...


def load_request(
    epoch: int,
    manifest: Manifest,
    layers: LayerRange,
    limits: StageLimits,
    following: Peer | None,
    previous_node_id: str = "",
    neighbours: Sequence[Peer] = (),
    standby_sha256: Iterable[str] = (),
) -> pb.LoadStageRequest:
    """Ask for a stage.

    ``following`` is the next hop, which the last stage has not; ``previous_node_id`` who may send
    steps, empty for a coordinator; ``neighbours`` whom to ask for a shard that got damaged;
    ``standby_sha256`` the shards that it keeps for the layers of others.
    """
    return pb.LoadStageRequest(
        epoch=epoch,
        manifest=manifest.to_json(),
        layers=pb.LayerRange(start=layers.start, stop=layers.stop),
        next_node=following.name if following else "",
        next_address=following.address if following else "",
        next_node_id=following.node_id if following else "",
        next_other_addresses=following.others if following else (),
        previous_node_id=previous_node_id,
        max_step_rows=limits.max_step_rows,
        max_sequences=limits.max_sequences,
        context=limits.context,
        cache_positions=limits.cache_positions,
        neighbours=list(map(neighbour, neighbours)),
        standby_sha256=standby_sha256,
    )


def neighbour(node: Peer) -> pb.Neighbour:
    """A node as another one is told of it, or tells of it."""
    return pb.Neighbour(
        name=node.name, address=node.address, node_id=node.node_id, other_addresses=node.others
    )
